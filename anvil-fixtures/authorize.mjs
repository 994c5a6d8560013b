// Signs an EIP-3009 authorization with viem, from typed data as a charge's answer holds it: a third party's view of it.
// stdin:  {privateKey, typedData}; the wallet's own address is put into message.from, and nothing else is changed
// stdout: {from, signature, data}; data is the call of transferWithAuthorization that anyone may submit to the token
import { readFileSync } from 'node:fs'
import { encodeFunctionData, parseAbi } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'

const { privateKey, typedData } = JSON.parse(readFileSync(0, 'utf8'))
const account = privateKeyToAccount(privateKey)
const message = { ...typedData.message, from: account.address }
const signature = await account.signTypedData({ ...typedData, message })
const abi = parseAbi([
  'function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature)',
])
const { from, to, value, validAfter, validBefore, nonce } = message
const args = [from, to, BigInt(value), BigInt(validAfter), BigInt(validBefore), nonce, signature]
const data = encodeFunctionData({ abi, functionName: 'transferWithAuthorization', args })
console.log(JSON.stringify({ from, signature, data }))
