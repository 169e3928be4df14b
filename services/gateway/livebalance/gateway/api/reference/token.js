/** Returns a token of the demo, or null if this is no demo. */
export async function demoToken() {
  const answer = await fetch('/api/demo/token', { method: 'POST' });
  return answer.ok ? (await answer.json()).token : null;
}
