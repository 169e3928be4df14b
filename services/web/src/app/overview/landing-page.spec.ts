import { signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { describe, expect, it, vi } from 'vitest';

import { AccountStore } from '../account/account-store';
import type { ConnectionText } from '../account/connection-text';
import { GatewayClient } from '../connection/gateway-client';
import { LandingPage } from './landing-page';
import { LiveAccounts } from './live-accounts';

/** Creates the page with an account whose connection is in this state, and whose balance is old. */
async function createPage(state: ConnectionText['state']) {
  const row = { account: 'a', live: state === 'live', status: { state, text: '' } };
  const retry = vi.fn();
  const live = {
    rows: signal(new Map([['a', row]])),
    asOf: signal('2026-11-24T17:20:00.000Z'),
    age: signal(600_000),
    follow: vi.fn(),
    retry,
  };
  const api = { accounts: () => Promise.resolve({ accounts: [], next: null }) };
  TestBed.configureTestingModule({
    providers: [
      { provide: LiveAccounts, useValue: live },
      { provide: AccountStore, useValue: { follow: vi.fn(), previousId: signal(null) } },
      { provide: GatewayClient, useValue: { api, time: signal(0), now: () => 0 } },
    ],
  });
  const fixture = TestBed.createComponent(LandingPage);
  await fixture.whenStable();
  const element = fixture.nativeElement as HTMLElement;
  return { retry, button: element.querySelector<HTMLElement>('[data-testid=reconnect]') };
}

describe('LandingPage', () => {
  it.each(['ended', 'reconnecting'] as const)('reconnects at once if the connection is %s', async (state) => {
    const { retry, button } = await createPage(state);
    button?.click();
    expect(retry).toHaveBeenCalledOnce();
  });

  it('offers that to nobody who is connected', async () => {
    expect((await createPage('live')).button).toBeNull();
  });
});
