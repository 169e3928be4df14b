import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';
import { Unavailable } from '@livebalance/client';

import { wording } from '../../wording';
import { AccountAddress } from '../account-address';
import { filterOf, type Filter } from './filter';
import { TransferSearch } from './search';

type Download = 'idle' | 'loading' | 'failed';

/** The filter of the list, a jump to a date, and the download of what the list shows. */
@Component({
  selector: 'lb-transfer-filter',
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './transfer-filter.html',
})
export class TransferFilter {
  readonly #address = inject(AccountAddress);
  protected readonly wording = wording.filter;
  protected readonly search = inject(TransferSearch);
  protected readonly filter = this.search.filter;
  protected readonly directions = [null, 'in', 'out'] as const;
  protected readonly amountFields = ['min', 'max'] as const;
  protected readonly dateFields = ['from', 'to'] as const;
  protected readonly download = signal<Download>('idle');
  /** The fields are shown at first if the address sets one of them. */
  protected readonly isOpen = ['min', 'max', 'id', 'from'].some(
    (name) => this.filter()[name as keyof Filter] !== null,
  );
  /** Names of the fields whose text is invalid. */
  protected readonly invalid = signal<ReadonlySet<keyof Filter>>(new Set());

  /** Sets a field, or removes it if its text is empty. The address keeps a filter until its text is valid. */
  protected set(name: keyof Filter, text: string): void {
    const entered = text.trim();
    const value = filterOf({ [name]: entered })[name];
    const isValid = entered === '' || value !== null;
    this.invalid.update((names) => {
      const others = new Set([...names].filter((other) => other !== name));
      return isValid ? others : others.add(name);
    });
    if (isValid) this.#address.change({ [name]: value });
  }

  /** Begins the list at a day. */
  protected jump(date: string): void {
    const { to } = filterOf({ to: date });
    if (date === '' || to !== null) this.#address.change({ to, from: null });
  }

  protected clear(): void {
    this.invalid.set(new Set());
    this.#address.change({ direction: null, min: null, max: null, id: null, from: null, to: null });
  }

  protected async save(): Promise<void> {
    if (this.download() === 'loading') return;
    this.download.set('loading');
    try {
      await this.search.download();
      this.download.set('idle');
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      this.download.set('failed');
    }
  }
}
