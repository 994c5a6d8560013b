// Believes a receipt as the README tells chat backends to, with jose and the published keys.
// stdin:  {keysUrl, receipt, tenant, user, gate, now}; now is RFC 3339
// stdout: {lets} or {error}, by jose's code
import { text } from 'node:stream/consumers'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { keysUrl, receipt, tenant, user, gate, now } = JSON.parse(await text(process.stdin))
const keys = createRemoteJWKSet(new URL(keysUrl))

async function lets(receipt, tenant, user, gate) {
  const { payload } = await jwtVerify(receipt, keys, {
    algorithms: ['EdDSA'], typ: 'eligibility-receipt+jwt', audience: tenant, subject: user, requiredClaims: ['exp'],
    currentDate: new Date(now),
  })
  return payload.gates.some(({ gateId }) => gateId === gate)
}

const outcome = await lets(receipt, tenant, user, gate).then((lets) => ({ lets }), ({ code }) => ({ error: code }))
console.log(JSON.stringify(outcome))
