import { demoToken } from './token.js';

const MAX_LINES = 200;
const [form, account, token, message, send, close, log] = [
  'try', 'account', 'token', 'message', 'send', 'close', 'log',
].map((id) => document.getElementById(id));
let socket = null;

function show(line) {
  log.append(`${line}\n`);
  while (log.childNodes.length > MAX_LINES) log.firstChild.remove();
  log.scrollTop = log.scrollHeight;
}

function sendText(text) {
  show(`→ ${JSON.parse(text).type === 'auth' ? '{"type":"auth","token":"…"}' : text}`);
  socket.send(text);
}

function setOpen(isOpen) {
  send.disabled = close.disabled = !isOpen;
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const given = token.value || (await demoToken());
  socket?.close();
  const opened = new WebSocket(`${location.origin.replace('http', 'ws')}/ws`, 'livebalance.v1');
  socket = opened;
  opened.onmessage = ({ data }) => show(`← ${data}`);
  opened.onclose = ({ code, reason }) => {
    show(`closed: ${code} ${reason}`);
    if (socket === opened) setOpen(false);
  };
  opened.onopen = () => {
    setOpen(true);
    if (given) sendText(JSON.stringify({ type: 'auth', token: given }));
    sendText(JSON.stringify({ type: 'subscribe', id: 1, channels: [{ channel: `account:${account.value}` }] }));
  };
});
send.addEventListener('click', () => {
  try {
    JSON.parse(message.value);
  } catch {
    show('not sent: the message is not JSON');
    return;
  }
  sendText(message.value);
});
close.addEventListener('click', () => socket.close());
