import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';
import { asOfAge, millis, sign } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';
import { AccountStore } from './account-store';
import { Amount } from './amount';
import { direction } from './amount-format';
import { formatAge } from './connection-text';
import { sparkline } from './sparkline';

const CHART = { width: 600, height: 72 };
const CHART_ROWS = 60;
const STALE_AFTER_MS = 20_000;

const timeFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});
const dateTimeFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** The balance of an account, its recent course, its freshness, and whether it matches the transfers. */
@Component({
  selector: 'lb-summary',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  templateUrl: './summary.html',
})
export class Summary {
  readonly #client = inject(GatewayClient);
  readonly #account = inject(AccountStore);

  protected readonly chart = CHART;
  protected readonly direction = direction;
  protected readonly state = this.#account.state;
  protected readonly balance = computed(() => this.state()?.balance ?? null);
  protected readonly newest = computed(() => this.state()?.rows[0] ?? null);
  protected readonly path = computed(() => sparkline((this.state()?.rows ?? []).slice(0, CHART_ROWS), CHART));
  protected readonly area = computed(() => {
    const path = this.path();
    return path === '' ? '' : `${path}V${CHART.height + 4}H0Z`;
  });

  readonly #connection = computed(() => {
    const { connection } = this.#client.session();
    return connection.kind === 'open' ? connection : null;
  });
  protected readonly sessionId = computed(() => this.#connection()?.session);
  protected readonly gateway = computed(() => this.#connection()?.gateway ?? '—');
  protected readonly gaps = computed(() => this.#client.session().channel?.gaps ?? 0);
  protected readonly asOf = computed(() => this.#client.session().channel?.asOf ?? null);
  protected readonly asOfText = computed(() => {
    const asOf = this.asOf();
    return asOf === null ? '' : timeFormat.format(millis(asOf));
  });
  readonly #age = computed(() => {
    const { channel, clockSkew } = this.#client.session();
    return channel === null ? null : asOfAge(channel, clockSkew, this.#client.time());
  });
  protected readonly ageText = computed(() => {
    const age = this.#age();
    return age === null ? '' : formatAge(age);
  });
  protected readonly stale = computed(() => (this.#age() ?? 0) > STALE_AFTER_MS);

  protected readonly disputedSince = computed(() => {
    const since = this.balance()?.disputed_since ?? null;
    return since === null ? null : dateTimeFormat.format(millis(since));
  });
  /** The sum of the transfers that the balance does not include yet; null if it is zero or unknown. */
  protected readonly halfApplied = computed(() => {
    const halfApplied = this.balance()?.half_applied ?? null;
    return halfApplied === null || sign(halfApplied) === 0 ? null : halfApplied;
  });
  protected readonly check = computed(() => {
    const drift = this.balance()?.drift ?? null;
    if (drift === null) return 'unknown';
    return sign(drift) === 0 ? 'match' : 'drift';
  });
}
