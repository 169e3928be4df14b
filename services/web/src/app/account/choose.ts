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

import type { AccountRow } from '../wire/frame';
import { accountId, type AccountId } from '../wire/identity';
import { Amount } from './amount-text';
import { readAccounts } from './rest';

const SUGGESTIONS = 8;

/** Choose an account: free text, or one of the suggestions by keyboard or pointer (ARIA combobox). */
@Component({
  selector: 'lb-choose',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  templateUrl: './choose.html',
})
export class Choose {
  readonly wide = input(false);

  readonly #router = inject(Router);
  protected readonly text = signal('');
  protected readonly open = signal(false);
  protected readonly complaint = signal('');

  readonly #found = resource({
    params: () => (this.open() ? this.text().trim() : undefined),
    loader: ({ params: prefix, abortSignal }) => readAccounts(prefix, SUGGESTIONS, abortSignal),
  });
  protected readonly rows = linkedSignal<readonly AccountRow[] | undefined, readonly AccountRow[]>({
    source: () => (this.#found.hasValue() ? this.#found.value().accounts : undefined),
    // What was found before stays until the next answer, so that the list does not flicker.
    computation: (found, before) => found ?? before?.value ?? [],
  });
  protected readonly active = linkedSignal({ source: this.rows, computation: () => -1 });
  protected readonly expanded = computed(() => this.open() && this.rows().length > 0);

  protected type(text: string): void {
    this.text.set(text);
    this.complaint.set('');
    this.open.set(true);
  }

  protected key(event: KeyboardEvent): void {
    const acts: Readonly<Record<string, () => void>> = {
      ArrowDown: () => {
        this.#move(1);
      },
      ArrowUp: () => {
        this.#move(-1);
      },
      Escape: () => {
        this.open.set(false);
      },
    };
    const act = acts[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  }

  protected submit(event: Event): void {
    event.preventDefault();
    const chosen = this.expanded() ? this.rows()[this.active()]?.account : undefined;
    const id = chosen ?? accountId(this.text().trim());
    if (id === null)
      this.complaint.set('An account id is 1 to 64 letters, digits, dots, dashes or underscores.');
    else this.go(id);
  }

  protected go(id: AccountId): void {
    this.text.set('');
    this.open.set(false);
    void this.#router.navigate(['/accounts', id]);
  }

  #move(by: 1 | -1): void {
    this.open.set(true);
    const count = this.rows().length + 1; // one more: back in the text
    this.active.update((active) => ((active + 1 + by + count) % count) - 1);
  }
}
