// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @dev The part of EIP-3009 that `payWithAuthorizations` calls.
interface ITransferWithAuthorization {
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) external;
}

/// @title Several payments in one transaction
/// @notice Also emits `Transfer` and `AuthorizationUsed` of its own: logs that look like the token's in everything but
/// the address, and must never count as a payment.
contract BatchPay {
    using SafeERC20 for IERC20;

    struct Authorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
        bytes signature;
    }

    event Transfer(address indexed from, address indexed to, uint256 value);
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);

    error LengthMismatch();
    error NotForwarded();

    /// @notice Pays from the caller's balance; needs the caller's allowance for this contract.
    function pay(IERC20 token, address[] calldata to, uint256[] calldata amounts) external {
        require(to.length == amounts.length, LengthMismatch());
        for (uint256 i = 0; i < to.length; ++i) {
            token.safeTransferFrom(msg.sender, to[i], amounts[i]);
        }
    }

    /// @notice Pays from this contract's own balance: the payer in the log is not the transaction's sender.
    function payFromSelf(IERC20 token, address[] calldata to, uint256[] calldata amounts) external {
        require(to.length == amounts.length, LengthMismatch());
        for (uint256 i = 0; i < to.length; ++i) {
            token.safeTransfer(to[i], amounts[i]);
        }
    }

    /// @notice As `pay`, with this contract's own `Transfer(caller, to, amount)` after each of the token's: the logs
    /// are token, foreign, token, foreign, …
    function payWithForeign(IERC20 token, address[] calldata to, uint256[] calldata amounts) external {
        require(to.length == amounts.length, LengthMismatch());
        for (uint256 i = 0; i < to.length; ++i) {
            token.safeTransferFrom(msg.sender, to[i], amounts[i]);
            emit Transfer(msg.sender, to[i], amounts[i]);
        }
    }

    /// @notice Submits several EIP-3009 authorizations. With `foreign`, a foreign pair follows each one.
    function payWithAuthorizations(
        ITransferWithAuthorization token,
        Authorization[] calldata authorizations,
        bool foreign
    ) external {
        for (uint256 i = 0; i < authorizations.length; ++i) {
            Authorization calldata a = authorizations[i];
            token.transferWithAuthorization(
                a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, a.signature
            );
            if (foreign) emitForeign(a.from, a.to, a.value, a.nonce);
        }
    }

    /// @notice Emits the foreign pair alone: `AuthorizationUsed(from, nonce)`, then `Transfer(from, to, amount)`.
    function emitForeign(address from, address to, uint256 amount, bytes32 nonce) public {
        emit AuthorizationUsed(from, nonce);
        emit Transfer(from, to, amount);
    }

    /// @notice Passes the value of the call on, by an internal call, which leaves no log.
    function forward(address payable to) external payable {
        (bool done,) = to.call{value: msg.value}("");
        require(done, NotForwarded());
    }
}
