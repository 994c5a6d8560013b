// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {ERC1155Burnable} from "@openzeppelin/contracts/token/ERC1155/extensions/ERC1155Burnable.sol";

/// @title Passes for token-gate tests
/// @notice The owner mints one id or several at once; holders transfer and burn, one id or several at once.
contract Pass1155 is ERC1155Burnable, Ownable {
    constructor() ERC1155("https://nft.example/pass/{id}.json") Ownable(msg.sender) {}

    function mint(address to, uint256 id, uint256 value) external onlyOwner {
        _mint(to, id, value, "");
    }

    function mintBatch(address to, uint256[] calldata ids, uint256[] calldata values) external onlyOwner {
        _mintBatch(to, ids, values, "");
    }
}
