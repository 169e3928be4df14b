import { Client } from '@livebalance/client';

const [gateway, account, token] = process.argv.slice(2);
const client = new Client(gateway, { token: async () => token });

client.follow(account, ({ state, live, rejected }) => {
  if (rejected !== null) console.log(`rejected: ${rejected.message}`);
  if (state !== null) console.log(live ? 'live:' : 'outdated:', state.balance?.amount, state.rows.length);
});
