'use strict'
// The charge as it is now, what the page shows of it, and copying. The server has rendered everything that is needed to
// pay by hand; this keeps it true.

const main = document.querySelector('main')
const byId = (id) => document.getElementById(id)
const api = byId('qr').getAttribute('src').replace(/\/qr\.svg$/, '')

const checkout = { charge: JSON.parse(byId('charge').textContent), watchers: [] }

// Amounts are integers of base units, and decimals only where they are shown.
const inUnits = (base, decimals) => {
  const digits = base.toString().padStart(decimals + 1, '0')
  const split = digits.length - decimals
  return decimals === 0 ? digits : `${digits.slice(0, split)}.${digits.slice(split)}`.replace(/\.?0+$/, '')
}

// Which of the page's messages fits; the server decides the same for its rendering.
const caseOf = (charge) => {
  if (charge.state === 'open' || charge.state === 'confirming') {
    if (charge.flags.includes('underpaid')) return 'underpaid'
    if (charge.state === 'open') return 'open'
    return charge.confirmations >= charge.confirmationsRequired ? 'settling' : 'confirming'
  }
  return charge.state
}
const isHindered = ({ flags }) => ['token_paused', 'treasury_blacklisted'].some((flag) => flags.includes(flag))
const isPayable = (charge) => ['open', 'underpaid', 'reversed'].includes(caseOf(charge)) && !isHindered(charge)
// Nothing will change any more.
const isOver = ({ state, confirmed, final }) =>
  state === 'closed' || (state === 'paid' && final.baseUnits === confirmed.baseUnits)

const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text
}

const show = (charge) => {
  if (charge.sequence < checkout.charge.sequence) return
  const owed = checkout.charge.remaining.baseUnits
  checkout.charge = charge
  const now = caseOf(charge)
  main.dataset.case = now
  main.dataset.payable = isPayable(charge) ? 'yes' : 'no'
  const excess = BigInt(charge.seen.baseUnits) - BigInt(charge.due.baseUnits)
  const values = {
    confirmations: String(charge.confirmations ?? 0),
    remaining: charge.remaining.amount,
    seen: charge.seen.amount,
    confirmed: charge.confirmed.amount,
    excess: inUnits(excess > 0n ? excess : 0n, charge.due.decimals),
  }
  // Values first, so that what is read aloud is whole.
  for (const element of document.querySelectorAll('[data-value]')) setText(element, values[element.dataset.value])
  for (const element of document.querySelectorAll('[data-when]')) element.hidden = element.dataset.when !== now
  for (const element of document.querySelectorAll('[data-flag]')) {
    element.hidden = !charge.flags.includes(element.dataset.flag)
  }
  byId('progress').value = Math.min(charge.confirmations ?? 0, charge.confirmationsRequired)
  byId('link').href = charge.paymentUri
  if (charge.remaining.baseUnits !== owed) byId('qr').src = `${api}/qr.svg?of=uri&owed=${charge.remaining.baseUnits}`
  if (now === 'paid') document.title = `Paid: ${charge.due.amount} ${charge.token.symbol}`
  for (const watcher of checkout.watchers) watcher(charge)
}

const reload = async () => {
  const answer = await fetch(api, { cache: 'no-store', referrerPolicy: 'no-referrer' })
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`)
  show(await answer.json())
  return checkout.charge
}

const lost = () => setText(byId('connection'), 'The connection was lost; trying again…')
const found = () => setText(byId('connection'), '')

// Where the stream of events is refused, or does not pass whatever stands in between.
const POLL_MS = 5_000
const poll = async () => {
  try {
    if (!document.hidden) await reload()
    found()
  } catch {
    lost()
  }
  if (!isOver(checkout.charge)) setTimeout(poll, POLL_MS)
}

const listen = () => {
  if (isOver(checkout.charge)) return
  if (!('EventSource' in window)) return void poll()
  const events = new EventSource(`${api}/events`)
  events.addEventListener('open', found)
  events.addEventListener('charge', (event) => show(JSON.parse(event.data)))
  events.addEventListener('end', () => events.close())
  events.addEventListener('error', () => {
    if (events.readyState === EventSource.CLOSED) poll()
    else lost()
  })
}

const copy = async (text) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  // Without TLS a page has no clipboard of its own.
  const field = document.createElement('textarea')
  field.value = text
  document.body.append(field)
  field.select()
  const done = document.execCommand('copy')
  field.remove()
  if (!done) throw new Error('not copied')
}

const prepareCopying = () => {
  for (const button of document.querySelectorAll('[data-copies]')) {
    const source = byId(button.dataset.copies)
    const name = button.querySelector('span').textContent
    button.hidden = false
    button.addEventListener('click', async () => {
      const text = source.href ?? source.textContent
      const said = byId('copied')
      // Emptied first, so that the same words are said again.
      setText(said, '')
      try {
        await copy(text)
        said.textContent = `Copied${name}.`
      } catch {
        said.textContent = `This browser does not let the page copy: select${name} and copy it yourself.`
      }
      button.focus()
    })
  }
}

// Times as the reader's clock shows them, and what is left of the time to pay.
const MINUTE_MS = 60_000
const showTimes = () => {
  for (const time of document.querySelectorAll('time')) {
    const options = { dateStyle: 'medium', timeStyle: 'short' }
    setText(time, new Date(time.dateTime).toLocaleString(undefined, options))
  }
  const left = Math.floor((new Date(byId('deadline').dateTime) - Date.now()) / MINUTE_MS)
  const words = left < 0 ? '' : left === 0 ? ', in less than a minute' : left < 120 ? `, in ${left} min` : ''
  setText(byId('left'), words)
}

prepareCopying()
showTimes()
setInterval(showTimes, MINUTE_MS / 2)
listen()
