import {
  ChangeDetectionStrategy,
  Component,
  computed,
  inject,
  input,
  linkedSignal,
  resource,
  signal,
} from '@angular/core';
import { Router } from '@angular/router';
import { accountId, type AccountId, type AccountRow } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';
import { wording } from '../wording';
import { Amount } from './amount';

const MAX_SUGGESTIONS = 8;

/** A search field for accounts, with suggestions for keyboard and pointer (ARIA combobox). */
@Component({
  selector: 'lb-account-search',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  templateUrl: './account-search.html',
})
export class AccountSearch {
  protected readonly wording = wording.search;
  readonly wide = input(false);

  readonly #router = inject(Router);
  readonly #api = inject(GatewayClient).api;
  protected readonly text = signal('');
  protected readonly open = signal(false);
  protected readonly error = signal('');

  readonly #accounts = resource({
    params: () => (this.open() ? this.text().trim() : undefined),
    loader: ({ params: prefix, abortSignal }) => this.#api.accounts(prefix, MAX_SUGGESTIONS, abortSignal),
  });
  protected readonly suggestions = linkedSignal<readonly AccountRow[] | undefined, readonly AccountRow[]>({
    source: () => (this.#accounts.hasValue() ? this.#accounts.value().accounts : undefined),
    // The previous suggestions stay until the next response, so that the list does not flicker.
    computation: (accounts, previous) => accounts ?? previous?.value ?? [],
  });
  /** Index of the selected suggestion; -1 while the text is selected. */
  protected readonly active = linkedSignal({ source: this.suggestions, computation: () => -1 });
  protected readonly expanded = computed(() => this.open() && this.suggestions().length > 0);

  protected changeText(text: string): void {
    this.text.set(text);
    this.error.set('');
    this.open.set(true);
  }

  protected handleKey(event: KeyboardEvent): void {
    const actions: Readonly<Record<string, () => void>> = {
      ArrowDown: () => {
        this.#moveSelection(1);
      },
      ArrowUp: () => {
        this.#moveSelection(-1);
      },
      Escape: () => {
        this.open.set(false);
      },
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }

  protected submit(event: Event): void {
    event.preventDefault();
    const selected = this.expanded() ? this.suggestions()[this.active()]?.account : undefined;
    const id = selected ?? accountId(this.text().trim());
    if (id === null) this.error.set(this.wording.invalid);
    else this.showAccount(id);
  }

  protected showAccount(id: AccountId): void {
    this.text.set('');
    this.open.set(false);
    void this.#router.navigate(['/accounts', id]);
  }

  #moveSelection(by: 1 | -1): void {
    this.open.set(true);
    const count = this.suggestions().length + 1; // the text counts as a choice, too
    this.active.update((active) => ((active + 1 + by + count) % count) - 1);
  }
}
