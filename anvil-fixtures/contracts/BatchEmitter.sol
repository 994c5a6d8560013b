// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

/// @title Many logs for little gas
/// @notice Emits ERC-20-shaped `Transfer` logs without any storage. Holders and values come from keccak-256, so a
/// test that never reads the chain can recompute every balance.
///
/// The formula. All integers are 256-bit big-endian words, `‖` is concatenation, `low64(x)` is x mod 2^64:
///
///     holder(i)          = last 20 bytes of keccak256(uint256(0x686f6c646572) ‖ uint256(i))     ("holder" in ASCII)
///     r(seed, k)         = keccak256(uint256(seed) ‖ uint256(k)) as a number
///     fromIndex          = low64(r) mod holders
///     toIndex            = (fromIndex + 1 + low64(r >> 64) mod (holders - 1)) mod holders       (never fromIndex)
///     value              = 1 + low64(r >> 128) mod 65535                                        (1 ..= 65535)
///
///     mintHolders(first, count)             logs, for i in first .. first+count:
///                                             Transfer(0x0, holder(i), ENDOWMENT)
///     emitTransfers(seed, count, holders)   logs, for k in 0 .. count:
///                                             Transfer(holder(fromIndex), holder(toIndex), value)
///
/// ENDOWMENT is 2^64: once each of `holders` is minted, it takes more than 2^48 transfers to bring a balance below
/// zero. The contract does not check that; use a different seed in each transaction. A holder's balance is then
/// ENDOWMENT × (times minted) + Σ values received − Σ values sent, and the sum over all the holders is
/// ENDOWMENT × (logs from address zero).
contract BatchEmitter {
    uint256 public constant ENDOWMENT = 1 << 64;
    uint256 private constant HOLDER_TAG = 0x686f6c646572;

    event Transfer(address indexed from, address indexed to, uint256 value);

    error TooFewHolders(uint256 holders);

    /// @notice Shaped like a token, so that a reader which asks for decimals gets them.
    function decimals() external pure returns (uint8) {
        return 6;
    }

    /// @notice The address of holder `i`.
    function holderAt(uint256 i) public pure returns (address) {
        return address(uint160(uint256(_hash(HOLDER_TAG, i))));
    }

    /// @notice What log `k` of `emitTransfers(seed, count, holders)` says.
    function transferAt(uint256 seed, uint256 k, uint256 holders)
        public
        pure
        returns (address from, address to, uint256 value)
    {
        require(holders > 1, TooFewHolders(holders));
        return _transferAt(seed, k, holders);
    }

    /// @notice Emits `count` mints, one for each of the holders `first .. first+count`.
    function mintHolders(uint256 first, uint256 count) external {
        for (uint256 i = first; i < first + count; ++i) {
            emit Transfer(address(0), holderAt(i), ENDOWMENT);
        }
    }

    /// @notice Emits `count` transfers among the first `holders` holders.
    function emitTransfers(uint256 seed, uint256 count, uint256 holders) external {
        require(holders > 1, TooFewHolders(holders));
        for (uint256 k = 0; k < count; ++k) {
            (address from, address to, uint256 value) = _transferAt(seed, k, holders);
            emit Transfer(from, to, value);
        }
    }

    /// @notice Emits `n` anonymous logs of four hash-like topics and no data: up to 12 bits each of the block's
    /// 2048-bit bloom, so about 1 - e^(-12n/2048) of it is set (n = 160: 60 %; n = 400: 90 %).
    /// @dev Topic t of log j in block b is keccak256(uint256(b) ‖ uint256(4j + t)): a second call in the same block
    /// sets no new bits.
    function fillBloom(uint256 n) external {
        for (uint256 i = 0; i < 4 * n; i += 4) {
            bytes32 first = _hash(block.number, i);
            bytes32 second = _hash(block.number, i + 1);
            bytes32 third = _hash(block.number, i + 2);
            bytes32 fourth = _hash(block.number, i + 3);
            assembly ("memory-safe") {
                log4(0, 0, first, second, third, fourth)
            }
        }
    }

    function _transferAt(uint256 seed, uint256 k, uint256 holders)
        private
        pure
        returns (address from, address to, uint256 value)
    {
        uint256 r = uint256(_hash(seed, k));
        uint256 fromIndex = uint64(r) % holders;
        uint256 toIndex = (fromIndex + 1 + uint64(r >> 64) % (holders - 1)) % holders;
        return (holderAt(fromIndex), holderAt(toIndex), 1 + uint64(r >> 128) % 65535);
    }

    /// @dev keccak256(abi.encode(a, b)) without allocating.
    function _hash(uint256 a, uint256 b) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            mstore(0x00, a)
            mstore(0x20, b)
            result := keccak256(0x00, 0x40)
        }
    }
}
