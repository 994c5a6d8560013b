// A wallet whose keys are anvil's: it asks the test, which asks anvil. `SETTINGS` says how it behaves.
(() => {
  const settings = SETTINGS
  const waiting = new Map()
  const anvil = (method, params) =>
    new Promise((resolve, reject) => {
      const id = waiting.size + 1
      waiting.set(id, { resolve, reject })
      call(JSON.stringify({ id, method, params }))
    })
  const fault = (code, message) => Object.assign(new Error(message), { code })
  window.answered = (id, result, error) => {
    const { resolve, reject } = waiting.get(id)
    if (error) reject(fault(error.code, error.message))
    else resolve(result)
  }
  window.asked = []
  let chain = settings.chain
  const own = {
    eth_requestAccounts: () => [settings.account],
    eth_chainId: () => chain,
    wallet_switchEthereumChain: ([{ chainId }]) => {
      if (settings.knowsNoChain) throw fault(4902, 'Unrecognized chain ID')
      chain = chainId
      return null
    },
  }
  const provider = {
    request: async ({ method, params = [] }) => {
      window.asked.push(method)
      if (settings.declines === method) throw fault(4001, 'User rejected the request.')
      return own[method] ? own[method](params) : anvil(method, params)
    },
  }
  const info = { uuid: '5ac5c1a5', name: 'Test Wallet', rdns: 'org.example.wallet', icon: 'data:image/svg+xml,<svg/>' }
  const announce = () => {
    const detail = Object.freeze({ info, provider })
    window.dispatchEvent(new CustomEvent('eip6963:announceProvider', { detail }))
  }
  if (settings.announces) window.addEventListener('eip6963:requestProvider', announce)
  else window.ethereum = provider
})()
