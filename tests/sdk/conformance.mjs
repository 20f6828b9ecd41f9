// Calls accessors of the published client, one after the other, and prints what each came to.
// What to do comes on standard input: {apiUri, tokens: {who: token}, calls, saved}; a call is
// {as, path: [[member, ...arguments]], method, arguments, save, until}. An argument `<name.id>` is
// taken from what an earlier call saved. Printed is {surface, results}.
import { readFileSync } from 'node:fs'

import { MembraneClient } from '@membranehq/sdk'

const given = JSON.parse(readFileSync(0, 'utf8'))
const clients = Object.fromEntries(
  Object.entries(given.tokens).map(([who, token]) => [
    who,
    new MembraneClient({ apiUri: given.apiUri, token }),
  ]),
)
const saved = given.saved

const lookUp = (name) => name.split('.').reduce((value, member) => value?.[member], saved)

function filled(value) {
  if (typeof value === 'string') {
    const whole = /^<([\w.-]+)>$/.exec(value)
    if (whole) return lookUp(whole[1])
    return value.replace(/<([\w.-]+)>/g, (_, name) => lookUp(name))
  }
  if (Array.isArray(value)) return value.map(filled)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(each)]))
}

function reached(client, path) {
  return path.reduce((place, [member, ...args]) => {
    const found = place[member]
    return typeof found === 'function' ? found.apply(place, filled(args)) : found
  }, client)
}

async function called({ as, path, method, arguments: args, until }) {
  for (let tries = 0; ; tries += 1) {
    const place = reached(clients[as], path)
    const value = await place[method](...filled(args))
    if (!until || until.includes(value.state) || tries > 600) return value
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

// --- what the client offers -------------------------------------------------------------------

function prototypes(object) {
  const found = []
  for (let at = Object.getPrototypeOf(object); at && at !== Object.prototype; ) {
    found.push(at)
    at = Object.getPrototypeOf(at)
  }
  return found
}

function members(object) {
  const all = {}
  for (const at of prototypes(object).reverse()) {
    Object.assign(all, Object.getOwnPropertyDescriptors(at))
  }
  delete all.constructor
  return Object.entries(all)
}

const isAccessor = (value) =>
  /(Accessor|Proxy|^UI)$/.test(value?.constructor?.name ?? '')

// Accessors are got without a call to the API, by a getter or by a plain function of a selector.
function surface(place, name, found) {
  const calls = []
  for (const [member, described] of members(place)) {
    const inner = name ? `${name}.${member}` : member
    const isPlain = described.get || described.value.constructor.name !== 'AsyncFunction'
    const next = isPlain && (described.get ? place[member] : plain(described.value, place))
    if (isAccessor(next)) surface(next, inner, found)
    else if (!given.internal.includes(member)) calls.push(member)
  }
  found[name] = calls
}

function plain(value, place) {
  try {
    const made = value.call(place, 'x', {})
    if (made instanceof Promise) made.catch(() => undefined)
    return made
  } catch {
    return undefined
  }
}

const found = {}
surface(new MembraneClient({ apiUri: given.apiUri, token: 'pat-none' }), '', found)

const results = []
for (const call of given.calls) {
  try {
    const value = (await called(call)) ?? null
    if (call.save) saved[call.save] = value
    results.push({ value })
  } catch (error) {
    results.push({
      error: {
        class: error.constructor.name,
        message: error.message,
        type: error.data?.type,
        key: error.data?.key,
        data: error.response?.data,
      },
    })
  }
}
console.log(JSON.stringify({ surface: found, results, saved }))
