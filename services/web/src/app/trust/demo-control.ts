/** Asks the supervisor of the demo to act. Only the page of the demo may (decision 35). */

import { trust } from './wording';

const TIMEOUT_MS = 15_000;

/** Resolves with the answer of the supervisor. Rejects with an error whose message is a text for the user. */
export async function act(action: 'kill-gateway' | 'transfers', request: object): Promise<unknown> {
  const response = await fetch(`/api/demo/control/${action}`, {
    method: 'POST',
    body: JSON.stringify(request),
    headers: { 'content-type': 'application/json' },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => null);
  if (response === null) throw new Error(trust.unreachable);
  if (response.status === 404 || response.status === 405) throw new Error(trust.noSupervisor);
  const answer = (await response.json().catch(() => null)) as { message?: string } | null;
  if (!response.ok) throw new Error(answer?.message ?? trust.unreachable);
  return answer;
}
