// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721Burnable} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721Burnable.sol";

/// @title A membership collection for token-gate tests
/// @notice `tokenURI(id)` is the base URI followed by the decimal id; point the base at a test's own metadata server.
contract MemberNft is ERC721Burnable, Ownable {
    /// @notice Where `mint(to)` looks first for a free id. The first id is 1.
    uint256 public nextId = 1;
    string private _base = "https://nft.example/member/";

    /// @dev ids that were ever minted: a burnt id does not come back through `mint(to)`.
    mapping(uint256 id => bool) private _minted;

    constructor() ERC721("Tollgate Member", "MEMBER") Ownable(msg.sender) {}

    /// @notice Mints the lowest id from `nextId` on that `mint(to, id)` has not taken. Never calls the receiver.
    function mint(address to) external onlyOwner returns (uint256 id) {
        id = nextId;
        while (_minted[id]) ++id;
        nextId = id + 1;
        _mintOnce(to, id);
    }

    /// @notice Mints `id`, also one that was burnt before. Never calls the receiver.
    function mint(address to, uint256 id) external onlyOwner {
        _mintOnce(to, id);
    }

    function setBaseURI(string calldata base) external onlyOwner {
        _base = base;
    }

    function _mintOnce(address to, uint256 id) private {
        _minted[id] = true;
        _mint(to, id);
    }

    function _baseURI() internal view override returns (string memory) {
        return _base;
    }
}
