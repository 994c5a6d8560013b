// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that is odd in the ways that matter to whoever is paid in it
/// @notice Any decimals, a fee on each transfer, and somebody else's log between an authorization and its transfer.
/// @dev Anyone may mint and change it; its authorizations are signed by nobody.
contract OddToken is ERC20 {
    uint8 private _decimals = 6;
    uint256 public feeBasisPoints;
    OddToken public between;

    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);

    constructor() ERC20("Odd Coin", "ODD") {}

    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function setDecimals(uint8 value) external {
        _decimals = value;
    }

    /// @notice What is kept of each transfer, in hundredths of a percent.
    function setFee(uint256 basisPoints) external {
        feeBasisPoints = basisPoints;
    }

    /// @notice The token whose `Transfer` comes between an authorization and its transfer; none is the zero address.
    function setBetween(OddToken other) external {
        between = other;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @notice The logs of EIP-3009's transferWithAuthorization, by the payer's own transaction.
    function payWithNonce(address to, uint256 value, bytes32 nonce) external {
        emit AuthorizationUsed(msg.sender, nonce);
        if (address(between) != address(0)) between.emitTransfer(msg.sender, to, value);
        _transfer(msg.sender, to, value);
    }

    /// @notice A log that moves nothing.
    function emitTransfer(address from, address to, uint256 value) external {
        emit Transfer(from, to, value);
    }

    /// @dev The fee goes to this contract, and the recipient's log says what arrives.
    function _update(address from, address to, uint256 value) internal override {
        uint256 fee = from == address(0) || to == address(0) ? 0 : (value * feeBasisPoints) / 10_000;
        super._update(from, to, value - fee);
        if (fee > 0) super._update(from, address(this), fee);
    }
}
