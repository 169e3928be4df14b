import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  ElementRef,
  Injector,
  afterNextRender,
  computed,
  effect,
  inject,
  linkedSignal,
  viewChild,
} from '@angular/core';
import type { Transfer } from '@livebalance/client';

import { wording } from '../../wording';
import { AccountStore } from '../account-store';
import { groupRows, type RowGroup } from './grouping';
import { TransferSearch } from './search';
import { TransferFilter } from './transfer-filter';
import { TransferGroup } from './transfer-group';

/** Distance from the end of the list at which older transfers are loaded. */
const LOAD_MARGIN = '1500px';

/**
 * The list of transfers, newest first: all of them, or those that pass the filter.
 *
 * Older transfers are loaded while the user scrolls down. While the heading is above the window, the user reads
 * inside the list. Rows that arrive then are held back.
 */
@Component({
  selector: 'lb-transfers',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [TransferFilter, TransferGroup],
  templateUrl: './transfers.html',
})
export class Transfers {
  readonly #injector = inject(Injector);
  private readonly heading = viewChild.required<ElementRef<HTMLElement>>('heading');
  private readonly more = viewChild<ElementRef<HTMLElement>>('more');
  private readonly end = viewChild<ElementRef<HTMLElement>>('end');
  protected readonly wording = wording.transfers;
  protected readonly account = inject(AccountStore);
  protected readonly search = inject(TransferSearch);
  protected readonly state = this.account.state;
  readonly #allRows = computed(
    () => (this.search.isActive() ? this.search.rows() : this.state()?.rows) ?? [],
  );
  protected readonly rows = computed(() => withoutHeld(this.#allRows(), this.account.heldAt()));
  readonly #oldest = computed(() => this.rows().at(-1));
  protected readonly newCount = computed(() => this.#allRows().length - this.rows().length);
  protected readonly groups = linkedSignal<readonly Transfer[], readonly RowGroup[]>({
    source: this.rows,
    computation: (rows, previous) => groupRows(rows, previous?.value, previous?.source),
  });
  protected readonly highlightAbove = computed(() => this.state()?.highlightAbove ?? 0);
  protected readonly opening = computed(() => this.state()?.balance?.opening ?? null);
  protected readonly currency = computed(() => this.state()?.balance?.currency ?? null);
  protected readonly complete = computed(() =>
    this.search.isActive() ? this.search.isComplete() : this.state()?.older.kind === 'none',
  );
  protected readonly older = computed(() =>
    this.search.isActive() ? this.search.status() : this.account.older(),
  );

  constructor() {
    const destroyed = inject(DestroyRef);
    afterNextRender(() => {
      let isFirst = true; // the browser has not yet restored the place to which the user goes back
      // What is below the window counts as inside: a jump from above the heading to below it is a change, too.
      const observer = new IntersectionObserver(
        (entries) => {
          const entry = entries.at(-1); // a busy page gets several at once, the oldest first
          if (entry === undefined) return;
          if (!entry.isIntersecting) this.account.hold();
          else if (!isFirst) this.account.release();
          isFirst = false;
        },
        { rootMargin: '0px 0px 1000000px 0px' },
      );
      observer.observe(this.heading().nativeElement);
      destroyed.onDestroy(() => {
        observer.disconnect();
      });
    });
    effect((onCleanup) => {
      const more = this.more()?.nativeElement;
      this.#oldest(); // the end can be near after older rows, too, and an observer reports no unchanged nearness
      if (more === undefined || this.older() !== 'idle') return; // after a failure the user decides
      const observer = new IntersectionObserver(
        (entries) => {
          if (entries.at(-1)?.isIntersecting === true) void this.showOlder();
        },
        { rootMargin: LOAD_MARGIN },
      );
      observer.observe(more);
      onCleanup(() => {
        observer.disconnect();
      });
    });
  }

  /** Loads older transfers. With the last of them the button disappears, and its focus moves to the end. */
  protected async showOlder(): Promise<void> {
    const hadFocus = this.more()?.nativeElement.contains(document.activeElement) === true;
    await (this.search.isActive() ? this.search.loadMore() : this.account.loadOlder());
    if (this.complete() && hadFocus)
      afterNextRender(() => this.end()?.nativeElement.focus({ preventScroll: true }), {
        injector: this.#injector,
      });
  }

  /** Shows the rows that were held back, and continues at the top of the list. */
  protected showNew(): void {
    this.account.release();
    const heading = this.heading().nativeElement;
    heading.scrollIntoView();
    heading.focus({ preventScroll: true });
  }
}

/** Returns the rows up to the revision `heldAt`. If no such row is left, nothing can hold still: all rows. */
function withoutHeld(rows: readonly Transfer[], heldAt: number | null): readonly Transfer[] {
  if (heldAt === null) return rows;
  const first = rows.findIndex((row) => row.revision <= heldAt);
  return first < 0 ? rows : rows.slice(first);
}
