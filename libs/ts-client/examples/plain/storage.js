import { Client, indexedDbStorage } from './node_modules/@livebalance/client/dist/index.js';

// The signed-in user, from your sign-in service.
const { user, token } = await (await fetch('/session.json')).json();
const client = new Client(location.origin, { token: async () => token, storage: indexedDbStorage(user) });

const show = (id, text) => {
  document.getElementById(id).textContent = text;
};

client.follow('acc-0001', ({ state, rejected, live }) => {
  show('revision', state?.revision ?? '');
  show('rows', (state?.rows ?? []).map(({ id }) => id).join(' '));
  show('status', rejected?.code ?? (live ? 'live' : 'outdated'));
});

document.getElementById('leave').onclick = async () => {
  await client.close(); // writes what has changed
  show('status', 'closed');
};
