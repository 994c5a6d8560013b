// Compiles contracts/*.sol into artifacts/<Name>.json; with --check only compares, and exits 1 on a difference.
// The output depends on nothing but the sources and the pinned compiler: no metadata hash, sorted names.
import { readFileSync, writeFileSync, readdirSync, mkdirSync, rmSync, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import solc from 'solc'

const root = fileURLToPath(new URL('.', import.meta.url))
const require = createRequire(import.meta.url)
const contractsDir = join(root, 'contracts')
const artifactsDir = join(root, 'artifacts')

function readImport(path) {
  try {
    return { contents: readFileSync(require.resolve(path), 'utf8') }
  } catch (error) {
    return { error: String(error) }
  }
}

function compile() {
  const files = readdirSync(contractsDir).filter((name) => name.endsWith('.sol')).sort()
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(
      files.map((name) => [`contracts/${name}`, { content: readFileSync(join(contractsDir, name), 'utf8') }]),
    ),
    settings: {
      evmVersion: 'cancun',
      optimizer: { enabled: true, runs: 200 },
      metadata: { bytecodeHash: 'none', appendCBOR: false },
      outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
    },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: readImport }))
  // What is remarked of OpenZeppelin's own sources is not ours to mend; its errors are.
  const isOurs = ({ severity, sourceLocation }) =>
    severity === 'error' || !sourceLocation?.file.startsWith('@openzeppelin/')
  const diagnostics = (output.errors ?? []).filter(isOurs)
  for (const { formattedMessage } of diagnostics) process.stderr.write(formattedMessage)
  if (diagnostics.length > 0) process.exit(1) // warnings are errors too

  const artifacts = new Map()
  for (const file of files) {
    const contractName = basename(file, '.sol')
    const { abi, evm } = output.contracts[`contracts/${file}`][contractName]
    const artifact = {
      contractName,
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
    }
    artifacts.set(`${contractName}.json`, `${JSON.stringify(artifact, null, 2)}\n`)
  }
  return artifacts
}

function differences(artifacts) {
  const present = existsSync(artifactsDir) ? readdirSync(artifactsDir) : []
  const unknown = present.filter((name) => !artifacts.has(name))
  const stale = [...artifacts].filter(
    ([name, text]) => !present.includes(name) || readFileSync(join(artifactsDir, name), 'utf8') !== text,
  )
  return [...unknown, ...stale.map(([name]) => name)].sort()
}

const artifacts = compile()
const different = differences(artifacts)
if (process.argv.includes('--check')) {
  for (const name of different) console.error(`artifacts/${name} differs from the sources: run npm run build`)
  process.exit(different.length === 0 ? 0 : 1)
}
mkdirSync(artifactsDir, { recursive: true })
for (const name of different) {
  if (artifacts.has(name)) writeFileSync(join(artifactsDir, name), artifacts.get(name))
  else rmSync(join(artifactsDir, name))
}
console.log(`${artifacts.size} artifacts, ${different.length} changed (solc ${solc.version()})`)
