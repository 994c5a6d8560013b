// Deploys TestUSDC and MemberNft to an anvil from its first unlocked account, which becomes their owner.
// usage:  node deploy.mjs RPC_URL
// stdout: {"chainId", "deployer", "contracts": {Name: {"address", "block", "blockHash", "transactionHash"}}}
// Needs neither node_modules nor the compiler: fetch and the checked-in artifacts only.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const CONTRACTS = ['TestUSDC', 'MemberNft']
const RECEIPT_DEADLINE_MS = 30_000

const rpcUrl = process.argv[2]
if (!rpcUrl) {
  console.error('usage: node deploy.mjs RPC_URL')
  process.exit(2)
}

async function rpc(method, ...params) {
  const response = await fetch(rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
  })
  const { result, error } = await response.json()
  if (error) throw new Error(`${method}: ${error.message}`)
  return result
}

async function receiptOf(transactionHash) {
  const deadline = Date.now() + RECEIPT_DEADLINE_MS
  while (Date.now() < deadline) {
    const receipt = await rpc('eth_getTransactionReceipt', transactionHash)
    if (receipt) return receipt
    await sleep(50)
  }
  throw new Error(`${transactionHash} was not mined within ${RECEIPT_DEADLINE_MS} ms`)
}

async function deploy(name, deployer) {
  const url = new URL(`./artifacts/${name}.json`, import.meta.url)
  const { bytecode } = JSON.parse(readFileSync(url, 'utf8'))
  const transactionHash = await rpc('eth_sendTransaction', { from: deployer, data: bytecode })
  const receipt = await receiptOf(transactionHash)
  if (receipt.status !== '0x1') throw new Error(`${name}: the deployment reverted`)
  return {
    address: receipt.contractAddress,
    block: Number(receipt.blockNumber),
    blockHash: receipt.blockHash,
    transactionHash,
  }
}

const [deployer] = await rpc('eth_accounts')
const contracts = {}
for (const name of CONTRACTS) contracts[name] = await deploy(name, deployer)
console.log(JSON.stringify({ chainId: Number(await rpc('eth_chainId')), deployer, contracts }, null, 2))
