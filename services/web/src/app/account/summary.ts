import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';

import { Connection } from '../connection/connection';
import { millis } from '../wire/identity';
import { sign } from '../wire/money';
import { direction } from './amount';
import { Amount } from './amount-text';
import { sparkline } from './sparkline';
import { Account } from './store';
import { ageMs, ago } from './words';

const LINE = { width: 600, height: 72 };
const LINE_ROWS = 60;
const OLD_MS = 20_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** The balance, how it moved, how complete it is, and whether it adds up. */
@Component({
  selector: 'lb-summary',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  templateUrl: './summary.html',
})
export class Summary {
  readonly #connection = inject(Connection);
  readonly #account = inject(Account);

  protected readonly line = LINE;
  protected readonly direction = direction;
  protected readonly ledger = this.#account.ledger;
  protected readonly balance = computed(() => this.ledger()?.balance ?? null);
  protected readonly newest = computed(() => this.ledger()?.rows[0] ?? null);
  protected readonly path = computed(() => sparkline((this.ledger()?.rows ?? []).slice(0, LINE_ROWS), LINE));
  protected readonly area = computed(() => {
    const path = this.path();
    return path === '' ? '' : `${path}V${LINE.height + 4}H0Z`;
  });

  protected readonly link = computed(() => {
    const { link } = this.#connection.state();
    return link.kind === 'open' ? link : null;
  });
  protected readonly gaps = computed(() => this.#connection.state().channel?.gaps ?? 0);
  protected readonly asOf = computed(() => this.#connection.state().channel?.asOf ?? null);
  protected readonly asOfText = computed(() => {
    const at = this.asOf();
    return at === null ? '' : clock.format(millis(at));
  });
  readonly #age = computed(() => {
    const { channel, skew } = this.#connection.state();
    return channel === null ? null : ageMs(channel, skew, this.#connection.time());
  });
  protected readonly age = computed(() => {
    const age = this.#age();
    return age === null ? '' : ago(age);
  });
  protected readonly old = computed(() => (this.#age() ?? 0) > OLD_MS);

  protected readonly disputed = computed(() => {
    const since = this.balance()?.disputed_since ?? null;
    return since === null ? null : day.format(millis(since));
  });
  /** What is listed and not yet in the balance, unless that is nothing. */
  protected readonly halfApplied = computed(() => {
    const half = this.balance()?.half_applied ?? null;
    return half === null || sign(half) === 0 ? null : half;
  });
  protected readonly check = computed(() => {
    const drift = this.balance()?.drift ?? null;
    if (drift === null) return 'unknown';
    return sign(drift) === 0 ? 'adds up' : 'drift';
  });
}
