/** The followed account as signals. */

import { Injectable, computed, inject, signal } from '@angular/core';
import type { AccountId } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';

@Injectable({ providedIn: 'root' })
export class AccountStore {
  readonly #client = inject(GatewayClient);
  readonly #view = this.#client.view;

  readonly id = signal<AccountId | null>(null);
  readonly older = computed(() => this.#view()?.older ?? 'idle');
  readonly missing = computed(() => this.#view()?.missing ?? 'idle');
  /** The state, or null if there is none yet or the user may no longer see the account. */
  readonly state = computed(() => this.#view()?.state ?? null);
  readonly forbidden = computed(() => this.#view()?.forbidden ?? false);

  follow(id: AccountId | null): void {
    this.id.set(id);
    this.#client.follow(id);
  }

  loadOlder(): Promise<void> {
    return this.#client.loadOlder();
  }

  retryMissing(): Promise<void> {
    return this.#client.retryMissing();
  }
}
