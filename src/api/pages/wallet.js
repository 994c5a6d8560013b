// Paying with a wallet that the browser holds (EIP-1193), found by announcement (EIP-6963) or as window.ethereum. The
// wallet signs and sends; this page never holds a key.

const [saidBox, failedBox, walletList] = ['wallet-said', 'wallet-failed', 'wallets'].map(byId)

// What a wallet must be told of a network that it does not know; each network's own published endpoint.
const NETWORKS = {
  10: ['OP Mainnet', 'ETH', 'https://mainnet.optimism.io', 'https://optimistic.etherscan.io'],
  56: ['BNB Smart Chain', 'BNB', 'https://bsc-dataseed.bnbchain.org', 'https://bscscan.com'],
  137: ['Polygon', 'POL', 'https://polygon-rpc.com', 'https://polygonscan.com'],
  8453: ['Base', 'ETH', 'https://mainnet.base.org', 'https://basescan.org'],
  42161: ['Arbitrum One', 'ETH', 'https://arb1.arbitrum.io/rpc', 'https://arbiscan.io'],
}

// Function selectors, the first four bytes of the hash of each signature.
const TRANSFER = '0xa9059cbb'
const BALANCE_OF = '0x70a08231'
const TRANSFER_WITH_AUTHORIZATION = '0xe3ee160e'

const word = (value) => BigInt(value).toString(16).padStart(64, '0')

// A refusal in words for the one who pays.
class Refusal extends Error {}

const isAnswerOf = (error, code) => error?.code === code || error?.data?.originalError?.code === code

// EIP-1193 and EIP-1474 codes, and what wallets and nodes write.
const inWords = (error) => {
  if (error instanceof Refusal) return error.message
  const text = String(error?.data?.message ?? error?.message ?? error)
  if (isAnswerOf(error, 4001)) return 'You declined in your wallet. Nothing was sent.'
  if (isAnswerOf(error, 4100)) return 'Your wallet has not allowed this page to use that account.'
  if (isAnswerOf(error, 4900) || isAnswerOf(error, 4901)) {
    return 'Your wallet is not connected to the network. Nothing was sent.'
  }
  if (isAnswerOf(error, -32002)) return 'Your wallet already waits for an answer from you: open it and look there.'
  if (/exceeds (the )?balance|ERC20InsufficientBalance|0xe450d38c/i.test(text)) {
    return `This wallet does not hold enough ${checkout.charge.token.symbol}. Nothing was sent.`
  }
  if (/insufficient funds/i.test(text)) {
    return 'This wallet does not hold enough of the network’s own coin to pay the network’s fee. Nothing was sent.'
  }
  return `Your wallet could not do it: ${text.slice(0, 200)}`
}

const chainName = () => document.querySelector('.where').textContent.replace(/^on /, '')

const switchChain = async (provider) => {
  const { chainId } = checkout.charge
  const wanted = `0x${chainId.toString(16)}`
  const isThere = async () => BigInt(await provider.request({ method: 'eth_chainId' })) === BigInt(chainId)
  if (await isThere()) return
  setText(saidBox, `Asking your wallet to change to ${chainName()}…`)
  try {
    await provider.request({ method: 'wallet_switchEthereumChain', params: [{ chainId: wanted }] })
  } catch (error) {
    // 4902: the wallet does not know the network.
    const network = NETWORKS[chainId]
    if (!isAnswerOf(error, 4902)) throw error
    if (!network) throw new Refusal(`Your wallet does not know ${chainName()}. Add it there, then try again.`)
    const [name, coin, rpc, explorer] = network
    const nativeCurrency = { name: coin, symbol: coin, decimals: 18 }
    const known = { chainName: name, nativeCurrency, rpcUrls: [rpc], blockExplorerUrls: [explorer] }
    await provider.request({ method: 'wallet_addEthereumChain', params: [{ chainId: wanted, ...known }] })
  }
  if (await isThere()) return
  throw new Refusal(`Your wallet is on another network. Change it to ${chainName()}, then try again.`)
}

const checkBalance = async (provider, account, amount) => {
  const { token } = checkout.charge
  const call = { to: token.address, data: BALANCE_OF + word(account) }
  const held = BigInt(await provider.request({ method: 'eth_call', params: [call, 'latest'] }))
  if (held >= amount) return
  const [has, needs] = [held, amount].map((value) => `${inUnits(value, token.decimals)} ${token.symbol}`)
  throw new Refusal(`This account holds ${has}, and ${needs} is needed. Nothing was sent.`)
}

// An authorization (EIP-3009) that names the charge by its nonce; whoever sends it, the money moves once. None where the
// account is a contract, whose signature has another form.
const authorize = async (provider, account, authorization) => {
  const message = { ...authorization.message, from: account }
  setText(saidBox, 'First of two steps: sign the authorization in your wallet.')
  const asked = JSON.stringify({ ...authorization, message })
  const signature = await provider.request({ method: 'eth_signTypedData_v4', params: [account, asked] })
  if (!/^0x[0-9a-f]{130}$/i.test(signature)) return null
  const [r, s] = [signature.slice(2, 66), signature.slice(66, 130)]
  const v = Number.parseInt(signature.slice(130), 16)
  const { to, value, validAfter, validBefore, nonce } = message
  const words = [account, to, value, validAfter, validBefore, nonce, v < 27 ? v + 27 : v].map(word)
  return TRANSFER_WITH_AUTHORIZATION + words.join('') + r + s
}

const transfer = ({ treasury, remaining }) => TRANSFER + word(treasury) + word(remaining.baseUnits)

const payWith = async (provider) => {
  setText(saidBox, 'Asking your wallet for an account…')
  const [account] = await provider.request({ method: 'eth_requestAccounts' })
  if (!account) throw new Refusal('Your wallet gave no account.')
  await switchChain(provider)
  // What is asked for may have changed since the page was shown.
  const charge = await reload()
  if (!isPayable(charge)) throw new Refusal('There is nothing to pay any more; see above.')
  await checkBalance(provider, account, BigInt(charge.remaining.baseUnits))
  const { authorization } = charge
  const signed = authorization ? await authorize(provider, account, authorization) : null
  setText(saidBox, signed ? 'Second step: confirm the payment in your wallet.' : 'Confirm the payment in your wallet.')
  const data = signed ?? transfer(charge)
  const transaction = { from: account, to: charge.token.address, value: '0x0', data }
  const hash = await provider.request({ method: 'eth_sendTransaction', params: [transaction] })
  setText(saidBox, `Sent as transaction ${hash}. It will be seen here in a moment; do not pay again.`)
}

let isPaying = false
const pay = async (provider) => {
  if (isPaying) return
  isPaying = true
  const buttons = walletList.querySelectorAll('button')
  setText(failedBox, '')
  // Not `disabled`, which would take the focus away.
  for (const button of buttons) button.setAttribute('aria-disabled', 'true')
  try {
    await payWith(provider)
  } catch (error) {
    setText(saidBox, '')
    failedBox.textContent = inWords(error)
  }
  for (const button of buttons) button.removeAttribute('aria-disabled')
  isPaying = false
}

const offered = new Set()
const offer = (provider, name, icon) => {
  if (offered.has(provider)) return
  offered.add(provider)
  const button = document.createElement('button')
  button.type = 'button'
  if (/^data:image\//.test(icon ?? '')) {
    const image = document.createElement('img')
    image.src = icon
    image.alt = ''
    button.append(image)
  }
  button.append(`Pay with ${name}`)
  button.addEventListener('click', () => pay(provider))
  const item = document.createElement('li')
  item.append(button)
  walletList.append(item)
}

const MAX_WALLETS = 12
const findWallets = () => {
  byId('wallet').hidden = false
  window.addEventListener('eip6963:announceProvider', (event) => {
    const { info, provider } = event.detail ?? {}
    if (info && provider && offered.size < MAX_WALLETS) offer(provider, String(info.name).slice(0, 40), info.icon)
  })
  window.dispatchEvent(new Event('eip6963:requestProvider'))
  // Announcements are made at once; a wallet that makes none may stand here, or come a little later.
  const offerInjected = () => {
    if (window.ethereum && offered.size === 0) offer(window.ethereum, 'your browser wallet')
  }
  offerInjected()
  window.addEventListener('ethereum#initialized', offerInjected, { once: true })
}

findWallets()
