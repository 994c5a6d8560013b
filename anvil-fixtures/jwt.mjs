// Signs tokens of end users with jose, sound and hostile, for tests of our own verifier. Everything it needs is made anew
// each time, private keys included, and thrown away.
// stdin:  nothing
// stdout: {now, secrets, jwks, rotated, spki, tokens: {<name>: <token>}}; now is seconds since 1970
//
//     node jwt.mjs > ../src/jwt/tests/tokens.json
import { createHmac } from 'node:crypto'
import { CompactSign, SignJWT, UnsecuredJWT, base64url, exportJWK, exportSPKI, generateKeyPair } from 'jose'

const now = 1760000000
const bytes = (text) => new TextEncoder().encode(text)
const secrets = ['the-secret-that-signs-today-0123456789', 'the-secret-of-last-year-0123456789abc']
const pair = (algorithm, options) => generateKeyPair(algorithm, { extractable: true, ...options })
const keys = {
  'rsa-1': ['RS256', await pair('RS256')],
  'ec-1': ['ES256', await pair('ES256')],
  'ed-1': ['EdDSA', await pair('EdDSA')],
  'rsa-2': ['RS256', await pair('RS256')],
  'ec-384': ['ES384', await pair('ES384')],
}
const jwk = async (kid) => ({ ...(await exportJWK(keys[kid][1].publicKey)), kid, use: 'sig' })
const spki = await exportSPKI(keys['rsa-1'][1].publicKey)

const alice = { sub: 'alice', tenant: 'acme', role: 'user', iss: 'https://id.example.com/', aud: 'tollgate', iat: now, exp: now + 3600 }
const without = (claim) => Object.fromEntries(Object.entries(alice).filter(([name]) => name !== claim))
const header = { alg: 'HS256', typ: 'JWT' }
const secret = (claims, { secret = secrets[0], ...rest } = {}) =>
  new SignJWT({ ...claims }).setProtectedHeader({ ...header, ...rest }).sign(bytes(secret))
const key = (kid, rest = {}, claims = alice) =>
  new SignJWT({ ...claims }).setProtectedHeader({ alg: keys[kid][0], typ: 'JWT', kid, ...rest }).sign(keys[kid][1].privateKey)

// Text by text, for what jose refuses to make.
const part = (value) => base64url.encode(typeof value === 'string' ? value : JSON.stringify(value))
const raw = (head, payload, by = secrets[0]) => {
  const message = `${part(head)}.${part(payload)}`
  return `${message}.${base64url.encode(createHmac('sha256', by).update(message).digest())}`
}

const sound = await secret(alice)
const [soundHead, soundPayload, soundSignature] = sound.split('.')
const rsa = await key('rsa-1')
const own = await pair('RS256')
const tokens = {
  // Sound.
  alice: sound,
  bob: await secret({ ...alice, sub: 'bob' }),
  admin: await secret({ ...alice, sub: 'ada', role: 'admin' }),
  owner: await secret({ ...alice, sub: 'olga', role: 'owner' }),
  stranger: await secret({ ...alice, tenant: 'other', sub: 'olga', role: 'owner' }),
  second_secret: await secret(alice, { secret: secrets[1] }),
  rs256: rsa,
  es256: await key('ec-1'),
  eddsa: await key('ed-1'),
  rotated: await key('rsa-2'),
  without_kid_es256: await key('ec-1', { kid: undefined }),
  access_token: await secret(alice, { typ: 'at+jwt' }),
  without_typ: await secret(alice, { typ: undefined }),
  many_audiences: await secret({ ...alice, aud: ['else', 'tollgate'] }),
  without_role: await secret(without('role')),
  expired_within_leeway: await secret({ ...alice, exp: now - 29 }),
  begins_within_leeway: await secret({ ...alice, nbf: now + 30 }),
  fractional_times: await secret({ ...alice, exp: now + 0.5, nbf: now - 0.5 }),
  nested: await secret({ ...alice, 'https://id.example.com/claims': { 'x.tenant': 'nested', role: 'owner' } }),
  // Whose signature holds, and who are refused.
  expired: await secret({ ...alice, exp: now - 30 }),
  expired_long_ago: await secret({ ...alice, exp: 1 }),
  not_yet: await secret({ ...alice, nbf: now + 31 }),
  other_audience: await secret({ ...alice, aud: 'else' }),
  other_audiences: await secret({ ...alice, aud: ['else', 5] }),
  without_audience: await secret(without('aud')),
  audience_of_wrong_type: await secret({ ...alice, aud: { tollgate: true } }),
  other_issuer: await secret({ ...alice, iss: 'https://id.example.com' }),
  issuers: await secret({ ...alice, iss: ['https://id.example.com/'] }),
  without_issuer: await secret(without('iss')),
  without_exp: await secret(without('exp')),
  without_sub: await secret(without('sub')),
  without_tenant: await secret(without('tenant')),
  other_role: await secret({ ...alice, role: 'superuser' }),
  role_in_capitals: await secret({ ...alice, role: 'Owner' }),
  roles: await secret({ ...alice, role: ['owner'] }),
  null_role: await secret({ ...alice, role: null }),
  sub_is_number: raw(header, { ...alice, sub: 5 }),
  exp_is_text: raw(header, { ...alice, exp: `${now + 3600}` }),
  exp_is_negative: raw(header, { ...alice, exp: -1 }),
  exp_is_null: raw(header, { ...alice, exp: null }),
  nbf_is_text: raw(header, { ...alice, nbf: '0' }),
  nbf_is_huge: raw(header, JSON.stringify(alice).replace('{', '{"nbf":1e300,')),
  tenant_is_list: await secret({ ...alice, tenant: ['acme'] }),
  tenant_is_empty: await secret({ ...alice, tenant: '' }),
  tenant_with_space: await secret({ ...alice, tenant: 'acme other' }),
  tenant_with_newline: await secret({ ...alice, tenant: 'acme\nx-tenant-id: other' }),
  tenant_with_nul: await secret({ ...alice, tenant: 'acme\0' }),
  tenant_with_homoglyph: await secret({ ...alice, tenant: '\u0430cme' }),
  tenant_too_long: await secret({ ...alice, tenant: 'a'.repeat(129) }),
  claims_are_a_list: raw(header, [alice]),
  claims_are_text: raw(header, 'alice'),
  // Whose signature does not hold, or must not be believed.
  none: new UnsecuredJWT({ ...alice }).encode(),
  none_in_capitals: `${part({ alg: 'NONE' })}.${soundPayload}.`,
  none_with_signature: `${part({ alg: 'none' })}.${soundPayload}.${soundSignature}`,
  without_alg: raw({ typ: 'JWT' }, alice),
  unknown_secret: await secret(alice, { secret: 'somebody-elses-secret-0123456789abcdef' }),
  empty_secret: raw(header, alice, ''),
  public_key_as_secret: raw({ ...header, kid: 'rsa-1' }, alice, spki),
  trimmed_public_key_as_secret: raw({ ...header, kid: 'rsa-1' }, alice, spki.trim()),
  modulus_as_secret: raw({ ...header, kid: 'rsa-1' }, alice, Buffer.from((await jwk('rsa-1')).n, 'base64url')),
  secret_as_rs256: raw({ ...header, alg: 'RS256', kid: 'rsa-1' }, alice),
  hs512: await secret(alice, { alg: 'HS512', secret: secrets[0].repeat(2) }),
  rs384: await new SignJWT(alice).setProtectedHeader({ alg: 'RS384', kid: 'rs384' }).sign((await pair('RS384')).privateKey),
  es384: await key('ec-384'),
  other_kid: await key('rsa-1', { kid: 'rsa-2' }),
  kid_of_other_kind: await key('rsa-1', { kid: 'ec-1' }),
  unknown_kid: await key('rsa-1', { kid: '../../etc/passwd' }),
  key_in_header: await new SignJWT(alice)
    .setProtectedHeader({ alg: 'RS256', kid: 'mine', jwk: await exportJWK(own.publicKey) })
    .sign(own.privateKey),
  url_in_header: await new SignJWT(alice)
    .setProtectedHeader({ alg: 'RS256', kid: 'mine', jku: 'https://evil.example/jwks.json', x5u: 'https://evil.example/x' })
    .sign(own.privateKey),
  critical_header: raw({ ...header, crit: ['exp'], exp: 1 }, alice),
  unencoded: await new CompactSign(bytes(soundPayload)).setProtectedHeader({ alg: 'HS256', crit: ['b64'], b64: true }).sign(bytes(secrets[0])),
  logout_token: await secret(alice, { typ: 'logout+jwt' }),
  compressed: raw({ ...header, zip: 'DEF' }, alice),
  header_is_list: raw([header], alice),
  header_twice: raw('{"alg":"none","alg":"HS256"}', alice),
  other_payload: `${soundHead}.${part({ ...alice, role: 'owner' })}.${soundSignature}`,
  without_signature: `${soundHead}.${soundPayload}.`,
  half_a_signature: `${soundHead}.${soundPayload}.${soundSignature.slice(0, 21)}`,
  padded: `${soundHead}.${soundPayload}.${soundSignature}=`,
  four_parts: `${sound}.`,
  two_parts: `${soundHead}.${soundPayload}`,
  json: JSON.stringify({ protected: soundHead, payload: soundPayload, signature: soundSignature }),
  empty: '..',
  too_long: await secret({ ...alice, more: 'x'.repeat(8192) }),
}
const set = async (...kids) => ({ keys: await Promise.all(kids.map(jwk)) })
const jwks = await set('rsa-1', 'ec-1', 'ed-1', 'ec-384')
const symmetric = { kty: 'oct', kid: 'oct', k: base64url.encode(secrets[0]) }
jwks.keys.push(symmetric, { kty: 'AKP', alg: 'ML-DSA-44', kid: 'new', pub: 'AA' }, { ...(await jwk('rsa-2')), use: 'enc' })
const rotated = await set('rsa-2', 'ec-1')
console.log(JSON.stringify({ now, secrets, jwks, rotated, spki, tokens }, null, 1))
