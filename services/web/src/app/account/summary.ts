import { ChangeDetectionStrategy, Component, computed, inject, linkedSignal } from '@angular/core';
import { asOfAge, millis, sign, type AccountId, type Balance } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';
import { wording } from '../wording';
import { AccountStore } from './account-store';
import { Amount } from './amount';
import { arrow, direction } from './amount-format';
import { balanceChange, type BalanceChange } from './balance-change';
import { formatAge } from './connection-text';
import { formatDateTime, formatMoment } from './dates';
import { Today } from './today';

type Shown = { readonly account: AccountId | null; readonly balance: Balance | null };

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
  readonly #today = inject(Today).date;

  protected readonly wording = wording.account;
  protected readonly freshness = wording.freshness;
  protected readonly direction = direction;
  protected readonly arrow = arrow;
  protected readonly state = this.#account.state;
  protected readonly balance = computed(() => this.state()?.balance ?? null);
  /** About the number of characters of the formatted balance, so that its size fits the width. */
  protected readonly characters = computed(() => (this.balance()?.amount ?? '').length + 2);
  /** How the balance changed last: the sign of the difference, or none for the first balance. */
  protected readonly change = linkedSignal<Shown, BalanceChange>({
    source: () => ({ account: this.#account.id(), balance: this.balance() }),
    computation: ({ account, balance }, previous) =>
      balanceChange(balance, previous?.source.account === account ? previous.value : undefined),
  });
  protected readonly newest = computed(() => this.state()?.rows[0] ?? null);

  readonly #connection = computed(() => {
    const { connection } = this.#client.session();
    return connection.kind === 'open' ? connection : null;
  });
  protected readonly sessionId = computed(() => this.#connection()?.session);
  protected readonly gateway = computed(() => this.#connection()?.gateway ?? wording.account.nothing);
  protected readonly gaps = computed(() => this.#client.session().channel?.gaps ?? 0);
  protected readonly asOf = computed(() => this.#client.session().channel?.asOf ?? null);
  protected readonly asOfText = computed(() => {
    const asOf = this.asOf();
    return asOf === null ? '' : formatMoment(millis(asOf), this.#today());
  });
  protected readonly ageText = computed(() => {
    const { channel, clockSkew } = this.#client.session();
    const age = channel === null ? null : asOfAge(channel, clockSkew, this.#client.time());
    return age === null ? '' : formatAge(age);
  });
  protected readonly stale = computed(() => !this.#account.live());

  protected readonly disputedSince = computed(() => {
    const since = this.balance()?.disputed_since ?? null;
    return since === null ? null : wording.account.disputedSince(formatDateTime(millis(since)));
  });
  /** The sum of the transfers that the balance does not include yet; null if it is zero or unknown. */
  protected readonly halfApplied = computed(() => {
    const halfApplied = this.balance()?.half_applied ?? null;
    return halfApplied === null || sign(halfApplied) === 0 ? null : halfApplied;
  });
  /** The balance names a transfer that is not listed yet. */
  protected readonly isUnlisted = computed(() => {
    const balance = this.balance();
    return balance !== null && balance.half_applied === null && balance.transfer_id !== '';
  });
  /** The difference between the balance and the transfers; null if it is zero or unknown. */
  protected readonly difference = computed(() => {
    const drift = this.balance()?.drift ?? null;
    return drift === null || sign(drift) === 0 ? null : drift;
  });
  protected readonly check = computed(() => {
    const balance = this.balance();
    if (balance === null) return 'unknown';
    if (balance.disputed_since !== null || this.difference() !== null) return 'disputed';
    return balance.drift === null ? 'unknown' : 'match';
  });
}
