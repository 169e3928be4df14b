import { Client } from '@livebalance/client';
import { useCallback, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';

const client = new Client(location.origin, {
  token: async (signal) => (await (await fetch('/api/demo/token', { method: 'POST', signal })).json()).token,
});

function useAccount(account: string) {
  const follow = useCallback((listener: () => void) => client.follow(account, listener), [account]);
  return useSyncExternalStore(follow, () => client.view(account));
}

function Account({ id }: { id: string }) {
  const account = useAccount(id);
  return (
    <>
      <p id="balance" className={account?.live ? 'live' : 'outdated'}>
        {account?.state?.balance?.amount ?? '–'}
      </p>
      <ul>
        {account?.state?.rows.map((row) => (
          <li key={row.id}>{`${row.id} ${row.amount}`}</li>
        ))}
      </ul>
    </>
  );
}

createRoot(document.body.appendChild(document.createElement('main'))).render(<Account id="acc-0001" />);
