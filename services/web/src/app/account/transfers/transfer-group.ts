import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  ElementRef,
  afterNextRender,
  computed,
  inject,
  input,
  linkedSignal,
} from '@angular/core';
import { millis, type Currency, type Money, type Transfer } from '@livebalance/client';

import { AccountStore } from '../account-store';
import { formatDate } from '../dates';
import type { RowGroup } from './grouping';
import { InView } from './in-view';
import { TransferRow } from './transfer-row';

/** A group of rows, and the dates above them. Far from the window it is only a space of the same height. */
@Component({
  selector: 'lb-transfer-group',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [TransferRow],
  host: {
    '[attr.role]': "isNear() ? 'rowgroup' : 'presentation'",
    // Rows inherit it, so that near the window each new row would restyle its group.
    '[style.--rows]': 'isNear() ? null : group().rows.length',
    '[style.height.px]': 'isNear() ? null : height()',
    '[class.far]': '!isNear()',
  },
  template: `
    @if (isNear()) {
      @for (item of items(); track item.row.id) {
        @if (item.date !== null) {
          <div class="date" role="row">
            <span role="rowheader" aria-colspan="4" data-testid="date">{{ item.date }}</span>
          </div>
        }
        <lb-transfer
          data-testid="transfer"
          [row]="item.row"
          [opening]="opening()"
          [currency]="currency()"
          [class.new]="item.row.revision > highlightAbove()"
        />
      }
    }
  `,
})
export class TransferGroup {
  readonly group = input.required<RowGroup>();
  readonly highlightAbove = input.required<number>();
  readonly opening = input<Money | null>(null);
  readonly currency = input<Currency>(null);

  readonly #account = inject(AccountStore);
  readonly #view = inject(InView);
  readonly #name = computed(
    () => `${this.#account.id() ?? ''}/${this.group().key}/${this.group().rows.length}/${innerWidth}`,
  );
  protected readonly height = linkedSignal(() => this.#view.height(this.#name()));
  /** The newest group is at the top, where a page begins. */
  protected readonly isNear = linkedSignal({
    source: () => this.group().above === null,
    computation: (isFirst, previous?: { value: boolean }) => previous?.value ?? isFirst,
  });
  protected readonly items = computed(() => {
    const { rows, above } = this.group();
    let date = above === null ? null : dateOf(above);
    return rows.map((row) => {
      const next = dateOf(row);
      const item = { row, date: next === date ? null : next };
      date = next;
      return item;
    });
  });

  constructor() {
    const element = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
    const destroyed = inject(DestroyRef);
    afterNextRender(() => {
      const unwatch = this.#view.watch(element, {
        near: (isNear) => {
          this.isNear.set(isNear);
        },
        height: (height) => {
          if (!this.isNear() || height === 0) return;
          this.#view.remember(this.#name(), height);
          this.height.set(height);
        },
      });
      destroyed.onDestroy(unwatch);
    });
  }
}

function dateOf(row: Transfer): string {
  return formatDate(millis(row.occurred_at));
}
