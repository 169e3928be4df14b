import { signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { Unavailable, type AccountState } from '@livebalance/client';
import { expect, it, vi } from 'vitest';

import { GatewayClient } from '../../connection/gateway-client';
import { AccountAddress } from '../account-address';
import { AccountStore } from '../account-store';
import { TransferDrawer } from './transfer-drawer';

const NOW = new Date(0).toISOString();

function stateOf(...ids: string[]): AccountState {
  const rows = ids.map((id) => ({
    id,
    amount: '1',
    total: '1',
    occurred_at: NOW,
    revision: 1,
    source: 't/0@1',
  }));
  return { epoch: 'e', balance: null, rows, highlightAbove: 0 } as unknown as AccountState;
}

it('shows a transfer that arrives after it was not found', async () => {
  HTMLDialogElement.prototype.showModal = vi.fn(); // jsdom has none
  const state = signal(stateOf('t-1'));
  const account = { id: signal('a'), state, live: signal(true), forbidden: signal(false) };
  const transfer = () => Promise.reject(new Unavailable('not found', 404));
  const session = signal({ connection: { kind: 'idle' }, channel: null });
  TestBed.configureTestingModule({
    providers: [
      { provide: GatewayClient, useValue: { api: { transfer }, session, time: signal(0) } },
      { provide: AccountStore, useValue: account },
      { provide: AccountAddress, useValue: { transfer: signal('t-2') } },
    ],
  });
  const fixture = TestBed.createComponent(TransferDrawer);
  const find = async (name: string) => {
    await fixture.whenStable();
    return (fixture.nativeElement as HTMLElement).querySelector(`[data-testid=${name}]`)?.textContent ?? null;
  };
  await fixture.whenStable();
  expect(await find('gone')).toContain('has no transfer “t-2”');
  state.set(stateOf('t-2', 't-1'));
  expect([await find('gone'), await find('drawer-id')]).toEqual([null, 't-2']);
});
