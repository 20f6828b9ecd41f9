// Drives the published client against a Vesicle API and prints what happened as one line of JSON.
// What to do comes on standard input: {apiUri, workspaceKey, workspaceSecret, tenant, steps}.
import { readFileSync } from 'node:fs'

import { MembraneClient } from '@membranehq/sdk'
import jwt from 'jsonwebtoken'

const given = JSON.parse(readFileSync(0, 'utf8'))

// The three ways in which products hand their token to the client.
const ways = {
  signed: () => ({
    token: jwt.sign(
      { workspaceKey: given.workspaceKey, tenantKey: given.tenant.key, name: given.tenant.name },
      given.workspaceSecret,
      { expiresIn: 7200, algorithm: 'HS512' },
    ),
  }),
  minted: () => ({
    workspaceKey: given.workspaceKey,
    workspaceSecret: given.workspaceSecret,
    tenantKey: given.tenant.key,
  }),
  admin: () => ({
    token: jwt.sign({ workspaceKey: given.workspaceKey, isAdmin: true }, given.workspaceSecret, {
      expiresIn: 600,
      algorithm: 'HS256',
    }),
  }),
}

const does = {
  self: (client) => client.self.get(),
  connections: (client) => client.connections.find(),
  connect: (client, body) => client.connections.create(body),
  connection: (client, id) => client.connection(id).get(),
  archiveConnection: (client, id) => client.connection(id).archive(),
  run: (client, key, input) => client.action(key).run(input),
  runSelected: (client, selector, input) => client.action(selector).run(input),
  runOver: (client, connection, key, input) => client.connection(connection).action(key).run(input),
  action: (client, key) => client.action(key).get(),
  actions: (client) => client.actions.find(),
  allActions: (client) => client.actions.findAll(),
  patchAction: (client, key, body) => client.action(key).patch(body),
  resetAction: (client, key) => client.action(key).reset(),
  createAction: (client, body) => client.actions.create(body),
  archiveAction: (client, key) => client.action(key).archive(),
  integrations: (client) => client.integrations.find(),
  integration: (client, key) => client.integration(key).get(),
  customers: (client) => client.customers.find(),
  createCustomer: (client, body) => client.customers.create(body),
  archiveCustomer: (client, id) => client.customer(id).archive(),
  restoreCustomer: (client, id) => client.customer(id).restore(),
  logs: (client) => client.get('/action-run-logs'),
}

const done = []
for (const [way, name, ...values] of given.steps) {
  const client = new MembraneClient({ apiUri: given.apiUri, ...ways[way]() })
  try {
    done.push({ value: (await does[name](client, ...values)) ?? null })
  } catch (error) {
    done.push({
      error: {
        class: error.constructor.name,
        isMembraneError: error.isMembraneError === true,
        message: error.message,
        type: error.data?.type ?? error.type,
        key: error.data?.key ?? error.key,
      },
    })
  }
}
console.log(JSON.stringify(done))
