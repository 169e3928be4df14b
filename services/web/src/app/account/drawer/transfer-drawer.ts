import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  ElementRef,
  afterNextRender,
  computed,
  inject,
  signal,
  viewChild,
} from '@angular/core';
import { Unavailable, millis, type Transfer } from '@livebalance/client';

import { GatewayClient } from '../../connection/gateway-client';
import { wording } from '../../wording';
import { AccountAddress } from '../account-address';
import { AccountStore } from '../account-store';
import { Amount } from '../amount';
import { direction } from '../amount-format';
import { ConnectionStatus } from '../connection-status';
import { formatDateTime } from '../dates';
import { readingOf } from '../reading';
import { balancesAround, placeOf, sqlOf } from './record';

const NOT_FOUND: ReadonlySet<number | null> = new Set([404, 403]);

/** All that is known of one transfer, beside the list. */
@Component({
  selector: 'lb-transfer-drawer',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount, ConnectionStatus],
  templateUrl: './transfer-drawer.html',
})
export class TransferDrawer {
  readonly #api = inject(GatewayClient).api;
  private readonly dialog = viewChild.required<ElementRef<HTMLDialogElement>>('dialog');
  readonly #address = inject(AccountAddress);
  protected readonly account = inject(AccountStore);
  protected readonly id = computed(() => this.#address.transfer() ?? '');
  protected readonly wording = wording.drawer;
  protected readonly direction = direction;
  protected readonly stale = computed(() => !this.account.live());
  readonly #state = this.account.state;

  /** A transfer is read again with each snapshot, because it can have been erased before. */
  readonly #read = readingOf(
    () => {
      const [account, state] = [this.account.id(), this.#state()];
      if (account === null || state === null) return null;
      return { account, id: this.id(), epoch: state.epoch, snapshot: state.highlightAbove };
    },
    ({ account, id }, signal) => this.#api.transfer(account, id, signal),
  );
  readonly #listed = computed(() => this.#state()?.rows.find((row) => row.id === this.id()) ?? null);
  /** The transfer as it was read, or as the list has it until then. Null: there is none, or the user may not see it. */
  protected readonly row = computed<Transfer | null>(() => {
    const state = this.#state();
    if (state === null || this.missing()) return null;
    return this.#read.answer().value ?? this.#listed();
  });
  readonly #status = computed(() => {
    const { error } = this.#read.answer();
    return error instanceof Unavailable ? error.status : null;
  });
  /** There is no such transfer. One that the list shows has arrived after the read. */
  protected readonly missing = computed(() => NOT_FOUND.has(this.#status()) && this.#listed() === null);
  protected readonly failed = computed(() => this.#read.answer().error !== null && !this.missing());

  protected readonly currency = computed(() => this.#state()?.balance?.currency ?? null);
  protected readonly balances = computed(() => {
    const [opening, row] = [this.#state()?.balance?.opening ?? null, this.row()];
    return opening === null || row === null ? null : balancesAround(opening, row);
  });
  protected readonly place = computed(() => placeOf(this.row()?.source ?? ''));
  protected readonly occurredAt = computed(() => this.row()?.occurred_at ?? null);
  protected readonly recordedAt = computed(() => this.#read.answer().value?.recorded_at ?? null);
  protected readonly sql = computed(() => {
    const account = this.account.id();
    return account === null ? '' : sqlOf(account, this.id());
  });
  /** The text that was copied last, so that its button says so. */
  protected readonly copied = signal<string | null>(null);
  protected readonly copyFailed = signal(false);

  constructor() {
    const destroyed = inject(DestroyRef);
    const opener = document.activeElement;
    afterNextRender(() => {
      this.dialog().nativeElement.showModal();
      // A dialog that is removed, as by going back, does not return the focus to the row.
      destroyed.onDestroy(() => {
        if (opener instanceof HTMLElement) opener.focus({ preventScroll: true });
      });
    });
  }

  protected close(): void {
    this.#address.change({ transfer: null });
  }

  protected timeText(instant: Transfer['occurred_at']): string {
    return formatDateTime(millis(instant));
  }

  protected retry(): void {
    this.#read.retry();
  }

  /** Copies a text. Browsers forbid it on pages without TLS, and users can. */
  protected async copy(text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.copied.set(text);
      this.copyFailed.set(false);
    } catch {
      this.copied.set(null);
      this.copyFailed.set(true);
    }
  }
}
