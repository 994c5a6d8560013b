// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721Burnable} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721Burnable.sol";
import {ERC721Consecutive} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721Consecutive.sol";

/// @title An ERC-721 whose first tokens are minted by ranges (ERC-2309)
/// @notice Its constructor gives the deployer the ids 0 to 99, in two events of 60 and 40.
contract RangeNft is ERC721Consecutive, ERC721Burnable {
    constructor() ERC721("Tollgate Range", "RANGE") {
        _mintConsecutive(msg.sender, 60);
        _mintConsecutive(msg.sender, 40);
    }

    function _ownerOf(uint256 id) internal view override(ERC721, ERC721Consecutive) returns (address) {
        return super._ownerOf(id);
    }

    function _update(address to, uint256 id, address auth)
        internal
        override(ERC721, ERC721Consecutive)
        returns (address)
    {
        return super._update(to, id, auth);
    }
}
