import { Client } from '@livebalance/client';

const [gateway, set, token] = process.argv.slice(2);
const client = new Client(gateway, { token: async () => token });

client.followSet(set, ({ state, live, rejected }) => {
  if (rejected !== null) console.log(`rejected: ${rejected.message}`);
  for (const { currency, amount, accounts } of state?.totals ?? [])
    console.log(live ? 'live:' : 'outdated:', `${amount} ${currency}, ${accounts} accounts`);
});
