// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

/// @title A USDT look-alike for tests
/// @notice What tollgate can observe of USDT on Ethereum behaves alike here: `transfer` and `transferFrom` return
/// nothing, `decimals` is a uint256 of 6, a fee that is off can be switched on, and pause and blacklist have Tether's
/// own names and unindexed events.
/// @dev Written from the interface alone: no upgrade, no destruction of black funds, anyone may issue.
contract TestUSDT {
    string public name = "Tether USD";
    string public symbol = "USDT";
    uint256 public decimals = 6;
    uint256 public totalSupply;
    address public owner = msg.sender;
    bool public paused;
    uint256 public basisPointsRate;
    uint256 public maximumFee;
    mapping(address account => uint256) public balanceOf;
    mapping(address account => mapping(address spender => uint256)) public allowance;
    mapping(address account => bool) public isBlackListed;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Issue(uint256 amount);
    event Params(uint256 feeBasisPoints, uint256 maxFee);
    event Pause();
    event Unpause();
    event AddedBlackList(address account);
    event RemovedBlackList(address account);

    error NotOwner();
    error TokenPaused();
    error BlackListed(address account);
    error TooLittle();

    modifier onlyOwner() {
        require(msg.sender == owner, NotOwner());
        _;
    }

    function issue(address to, uint256 amount) external {
        balanceOf[to] += amount;
        totalSupply += amount;
        emit Issue(amount);
        emit Transfer(address(0), to, amount);
    }

    /// @notice Of each transfer so many hundredths of a percent, but never more than `maxFee` base units, go to the owner.
    function setParams(uint256 feeBasisPoints, uint256 maxFee) external onlyOwner {
        basisPointsRate = feeBasisPoints;
        maximumFee = maxFee;
        emit Params(feeBasisPoints, maxFee);
    }

    function pause() external onlyOwner {
        paused = true;
        emit Pause();
    }

    function unpause() external onlyOwner {
        paused = false;
        emit Unpause();
    }

    function addBlackList(address account) external onlyOwner {
        isBlackListed[account] = true;
        emit AddedBlackList(account);
    }

    function removeBlackList(address account) external onlyOwner {
        isBlackListed[account] = false;
        emit RemovedBlackList(account);
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
    }

    /// @dev Returns nothing, as the original does.
    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
    }

    /// @dev Returns nothing, as the original does.
    function transferFrom(address from, address to, uint256 value) external {
        require(allowance[from][msg.sender] >= value, TooLittle());
        allowance[from][msg.sender] -= value;
        _move(from, to, value);
    }

    /// @dev The recipient's log says what arrives; the fee has a log of its own.
    function _move(address from, address to, uint256 value) private {
        require(!paused, TokenPaused());
        require(!isBlackListed[from], BlackListed(from));
        require(balanceOf[from] >= value, TooLittle());
        uint256 fee = (value * basisPointsRate) / 10_000;
        if (fee > maximumFee) fee = maximumFee;
        balanceOf[from] -= value;
        balanceOf[to] += value - fee;
        emit Transfer(from, to, value - fee);
        if (fee > 0) {
            balanceOf[owner] += fee;
            emit Transfer(from, owner, fee);
        }
    }
}
