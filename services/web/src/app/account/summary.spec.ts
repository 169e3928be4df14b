import { signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import type { AccountState, Balance } from '@livebalance/client';
import { describe, expect, it } from 'vitest';

import { GatewayClient } from '../connection/gateway-client';
import { AccountStore } from './account-store';
import { Summary } from './summary';

function stateOf(amount: string): AccountState {
  const balance = { amount, currency: 'EUR', drift: '0.00', half_applied: '0.00', disputed_since: null };
  return { balance: balance as Balance, rows: [] } as unknown as AccountState;
}

/** Creates the summary of the account a, whose balance is 5. */
function createSummary() {
  const [id, state, live] = [signal('a'), signal(stateOf('5.00')), signal(true)];
  const session = signal({ connection: { kind: 'idle' }, channel: null });
  TestBed.configureTestingModule({
    providers: [
      { provide: GatewayClient, useValue: { session, time: signal(0) } },
      { provide: AccountStore, useValue: { id, state, live } },
    ],
  });
  const fixture = TestBed.createComponent(Summary);
  const element = fixture.nativeElement as HTMLElement;
  const find = async (selector: string) => {
    await fixture.whenStable();
    return element.querySelector(selector);
  };
  return { id, state, live, find };
}

describe('Summary', () => {
  it('shows how the balance of an account has changed, and no change between two accounts', async () => {
    const { id, state, find } = createSummary();
    const change = async () => (await find('.digits'))?.getAttribute('data-change');
    expect(await change()).toBe('none');
    state.set(stateOf('4.00'));
    expect(await change()).toBe('debit');
    id.set('b');
    state.set(stateOf('9.00'));
    expect(await change()).toBe('none');
  });

  it('dims the check of a balance that is not live', async () => {
    const { live, find } = createSummary();
    expect((await find('[data-testid=check]'))?.classList).not.toContain('stale');
    live.set(false);
    expect((await find('[data-testid=check]'))?.classList).toContain('stale');
  });
});
