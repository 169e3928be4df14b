import { Client } from './node_modules/@livebalance/client/dist/index.js';

// The demo's token. Elsewhere, return the token of your sign-in; without `token`, a cookie holds it.
async function token(signal) {
  const response = await fetch('/api/demo/token', { method: 'POST', signal });
  return (await response.json()).token;
}

const client = new Client(location.origin, { token });

function item({ id, amount }) {
  const element = document.createElement('li');
  element.textContent = `${id} ${amount}`;
  return element;
}

client.follow('acc-0001', ({ state, live }) => {
  document.getElementById('balance').textContent = state?.balance?.amount ?? '–';
  document.getElementById('balance').className = live ? 'live' : 'outdated';
  document.getElementById('transfers').replaceChildren(...(state?.rows ?? []).map(item));
});
