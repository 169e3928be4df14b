import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  ElementRef,
  afterNextRender,
  afterRenderEffect,
  computed,
  inject,
  linkedSignal,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { toObservable, toSignal } from '@angular/core/rxjs-interop';
import { millis, plus, type ChartPage, type Money } from '@livebalance/client';
import { throttleTime } from 'rxjs';
import uPlot from 'uplot';

import { GatewayClient } from '../../connection/gateway-client';
import { wording } from '../../wording';
import { AccountAddress } from '../account-address';
import { AccountStore } from '../account-store';
import { RANGES, type Range } from '../address';
import { Amount } from '../amount';
import { AmountFormat, arrow, direction } from '../amount-format';
import { formatDateTime } from '../dates';
import { readingOf } from '../reading';
import { appended, change, extremes, heights, pointsOf, selected, within, type Point } from './course';
import { plotOptions } from './plot';

/** Number of points that are requested of older transfers. */
const SELECTED_POINTS = 200;
/** Number of the newest transfers that the line is drawn from. */
const MAX_ROWS = 2_000;
/** Number of revisions after which the transfers that these rows have left behind are read again. */
const REREAD_REVISIONS = MAX_ROWS / 2;
/** A period begins at a multiple of this part of its length, so that its beginning is read again that often. */
const PERIOD_PARTS = 60;
const DRAW_MS = 250;
const DAY_MS = 86_400_000;
const LENGTH_MS: Readonly<Record<Range, number>> = {
  '1h': DAY_MS / 24,
  '1d': DAY_MS,
  '7d': 7 * DAY_MS,
  '30d': 30 * DAY_MS,
  '1y': 365 * DAY_MS,
  all: Infinity,
};
const amountFormat = new AmountFormat();

/** Transfers since a time, and the last one before it; null stands for the first transfer. */
type Selection = ChartPage & { readonly since: number | null };

/**
 * The balance over time, as a line with exact values under the cursor.
 *
 * The line ends at the time that the data are complete as of, so an outdated line never looks current.
 */
@Component({
  selector: 'lb-balance-chart',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  templateUrl: './balance-chart.html',
})
export class BalanceChart {
  readonly #client = inject(GatewayClient);
  #plot: uPlot | null = null;
  private readonly plotElement = viewChild.required<ElementRef<HTMLElement>>('plot');
  protected readonly account = inject(AccountStore);
  readonly #address = inject(AccountAddress);
  protected readonly range = this.#address.range;
  protected readonly wording = wording.chart;
  protected readonly ranges = RANGES;
  protected readonly stale = computed(() => !this.account.live());
  protected readonly currency = computed(() => this.account.state()?.balance?.currency ?? null);
  readonly #opening = computed(() => this.account.state()?.balance?.opening ?? null);

  readonly #current = computed(() => {
    const { channel } = this.#client.session();
    return { account: this.account.id(), state: this.account.state(), asOf: channel?.asOf ?? null };
  });
  /** The same, updated at most every `DRAW_MS`: thousands of updates a second need no line each. */
  readonly #throttled = toSignal(
    toObservable(this.#current).pipe(throttleTime(DRAW_MS, undefined, { leading: true, trailing: true })),
    { initialValue: null },
  );
  readonly #epoch = computed(() => this.account.state()?.epoch ?? null);
  readonly #drawn = computed(() => {
    const [drawn, account, epoch] = [this.#throttled(), this.account.id(), this.#epoch()];
    // The line of another account or epoch is never drawn.
    const isSame = drawn?.account === account && (drawn.state?.epoch ?? null) === epoch;
    return isSame ? drawn : untracked(this.#current);
  });
  readonly #rows = computed(() => this.#drawn().state?.rows.slice(0, MAX_ROWS) ?? []);
  /** The time that the data are complete as of, in milliseconds; 0 while it is unknown. */
  readonly #asOf = computed(() => {
    const { asOf } = this.#drawn();
    return asOf === null ? 0 : millis(asOf);
  });
  /** The beginning of the period, for a selection; null for all transfers. */
  readonly #since = computed(() => {
    const part = LENGTH_MS[this.range()] / PERIOD_PARTS;
    const now = this.#asOf() || Date.now();
    return part === Infinity ? null : (Math.floor(now / part) - PERIOD_PARTS) * part;
  });
  /** What a selection is of. It stays the same while a selection is read again for other rows or a later period. */
  readonly #subject = computed(() => {
    const [account, { state }] = [this.account.id(), this.#drawn()];
    if (account === null || state === null) return null;
    if (state.older.kind === 'none' && state.rows.length <= MAX_ROWS) return null; // the rows are all there are
    return { account, epoch: state.epoch, range: this.range(), snapshot: state.highlightAbove };
  });
  /** A selection of the transfers. */
  readonly #reading = readingOf(
    () => {
      const subject = this.#subject();
      const left = this.#rows()[MAX_ROWS - 1]?.revision ?? 0;
      return subject && { ...subject, since: this.#since(), left: Math.floor(left / REREAD_REVISIONS) };
    },
    async ({ account, since }, signal): Promise<Selection> => {
      const from = since === null ? null : new Date(since).toISOString();
      return { since, ...(await this.#client.api.chart(account, from, SELECTED_POINTS, signal)) };
    },
  );
  /** The last selection. It stays while it is read again. */
  readonly #selection = linkedSignal<{ read: Selection | null; subject: string }, Selection | null>({
    source: () => ({ read: this.#reading.answer().value, subject: JSON.stringify(this.#subject()) }),
    computation: ({ read, subject }, previous) =>
      read ?? (previous?.source.subject === subject ? previous.value : null),
  });
  /** The transfers before the rows are not known, so that the figures of the period are not, either. */
  protected readonly isPending = computed(
    () => this.#subject() !== null && this.#selection()?.epoch !== this.#epoch(),
  );
  readonly #points = computed(() => {
    const rows = this.#rows();
    const selection = this.#selection();
    if ((selection?.epoch ?? null) !== this.#epoch()) return pointsOf(rows);
    const oldest = rows.at(-1)?.revision ?? Infinity;
    return appended(selected(selection?.points ?? [], oldest), rows.toReversed());
  });
  /** Points are missing between those of the line, so that it may miss the highest and the lowest balance. */
  protected readonly isSelection = computed(() => {
    const [line, oldest] = [this.line(), this.#rows().at(-1)?.revision];
    return oldest !== undefined && line.some(({ revision }) => revision < oldest);
  });
  protected readonly isIncomplete = computed(() => this.isPending() && this.#reading.answer().error !== null);
  readonly #until = computed(() => Math.max(this.#asOf(), this.#points().at(-1)?.at ?? 0));
  /** The points of the range, as sums of transfers. The balances are higher by the opening. */
  protected readonly line = computed<readonly Point[]>(() => {
    const until = this.#until();
    // A selected point is the balance at the beginning of its own selection alone.
    return within(this.#points(), this.#selection()?.since ?? until - LENGTH_MS[this.range()], until);
  });
  readonly #totals = computed(() => this.line().map(({ total }) => total));
  protected readonly isBalance = computed(() => this.#opening() !== null);
  protected readonly extremes = computed(() => {
    const found = extremes(this.#totals());
    return found && { low: this.balanceOf(found.low), high: this.balanceOf(found.high) };
  });
  protected readonly change = computed(() => change(this.line()));
  protected readonly lastBalance = computed(() => {
    const last = this.line().at(-1);
    return last === undefined ? null : this.balanceOf(last.total);
  });
  protected readonly direction = direction;
  protected readonly arrow = arrow;

  /** Index of the point that the keyboard has chosen. Another line has none. */
  protected readonly chosen = linkedSignal<unknown, number | null>({
    source: () => `${this.range()} ${this.account.id() ?? ''} ${this.account.state()?.epoch ?? ''}`,
    computation: () => null,
  });
  /** Index of the point under the pointer. */
  readonly #hovered = signal<number | null>(null);
  protected readonly cursor = computed(() => this.chosen() ?? this.#hovered());
  protected readonly shown = computed(() => {
    const index = this.cursor();
    return index === null ? null : (this.line()[index] ?? null);
  });
  protected readonly valueText = computed(() => {
    const point = this.shown() ?? this.line().at(-1);
    return point === undefined ? this.wording.empty : this.#textOf(point);
  });

  constructor() {
    const destroyed = inject(DestroyRef);
    afterNextRender(() => {
      const element = this.plotElement().nativeElement;
      const moved = (index: number | null) => {
        this.#hovered.set(index);
      };
      const options = plotOptions(element, moved);
      const created = new uPlot(options, [[], []], element);
      this.#plot = created;
      const observer = new ResizeObserver(() => {
        created.setSize({ width: element.clientWidth, height: element.clientHeight });
      });
      observer.observe(element);
      const scheme = matchMedia('(prefers-color-scheme: dark)');
      const redraw = () => {
        created.redraw();
      };
      scheme.addEventListener('change', redraw);
      const theme = new MutationObserver(redraw);
      theme.observe(document.documentElement, { attributes: true });
      destroyed.onDestroy(() => {
        observer.disconnect();
        theme.disconnect();
        scheme.removeEventListener('change', redraw);
        created.destroy();
      });
    });
    afterRenderEffect(() => {
      const line = this.line();
      this.#plot?.setData([line.map(({ at }) => at / 1_000), [...heights(this.#totals())]]);
    });
  }

  protected choose(range: Range): void {
    this.#address.change({ range: range === 'all' ? null : range });
  }

  protected timeOf(point: Point): string {
    return formatDateTime(point.at);
  }

  /** Moves the cursor by keyboard. */
  protected handleKey(event: KeyboardEvent): void {
    const last = this.line().length - 1;
    const current = Math.min(this.cursor() ?? last, last);
    const targets: Readonly<Record<string, number | null>> = {
      ArrowLeft: Math.max(0, current - 1),
      ArrowDown: Math.max(0, current - 1),
      ArrowRight: Math.min(last, current + 1),
      ArrowUp: Math.min(last, current + 1),
      PageDown: Math.max(0, current - 10),
      PageUp: Math.min(last, current + 10),
      Home: 0,
      End: last,
      Escape: null,
    };
    const target = targets[event.key];
    if (target === undefined || last < 0) return;
    event.preventDefault();
    this.chosen.set(target);
    const at = target === null ? undefined : this.line()[target]?.at;
    const left = at === undefined ? -10 : (this.#plot?.valToPos(at / 1_000, 'x') ?? -10);
    this.#hovered.set(null);
    this.#plot?.setCursor({ left, top: at === undefined ? -10 : 0 }, false);
  }

  /** Returns the balance after transfers with this sum, or the sum while the opening is unknown. */
  protected balanceOf(total: Money): Money {
    const opening = this.#opening();
    return opening === null ? total : plus(opening, total);
  }

  #textOf(point: Point): string {
    const amount = amountFormat.format(this.balanceOf(point.total), this.currency());
    return this.wording.valueAt(amount, this.timeOf(point));
  }
}
