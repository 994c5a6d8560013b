// Makes and signs a Sign-In with Ethereum message (EIP-4361) with viem, for tests of our own verifier.
// stdin:  {privateKey, domain, uri, chainId, nonce, issuedAt, expirationTime?, statement?}; times are ISO 8601
// stdout: {address, message, signature}
import { readFileSync } from 'node:fs'
import { privateKeyToAccount } from 'viem/accounts'
import { createSiweMessage } from 'viem/siwe'

const input = JSON.parse(readFileSync(0, 'utf8'))
const account = privateKeyToAccount(input.privateKey)
const message = createSiweMessage({
  address: account.address,
  version: '1',
  domain: input.domain,
  uri: input.uri,
  chainId: input.chainId,
  nonce: input.nonce,
  issuedAt: new Date(input.issuedAt),
  ...(input.expirationTime && { expirationTime: new Date(input.expirationTime) }),
  ...(input.statement && { statement: input.statement }),
})
const signature = await account.signMessage({ message })
console.log(JSON.stringify({ address: account.address, message, signature }))
