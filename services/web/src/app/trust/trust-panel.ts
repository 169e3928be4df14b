import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  computed,
  effect,
  inject,
  signal,
} from '@angular/core';

import { NO_COUNTERS } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';
import { wording } from '../wording';
import { trust } from './wording';
import { Auditor } from './auditor';
import { act } from './demo-control';
import { percentile } from './percentile';
import { timeline } from './timeline';

const MAX_SENTENCES = 14;
const time = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 1,
  hourCycle: 'h23',
});

/** How this page is connected, what its client had to repair, and in a demo, buttons that break it. */
@Component({
  selector: 'lb-trust-panel',
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './trust-panel.html',
  host: { role: 'region', '[attr.aria-label]': 'wording.title' },
})
export class TrustPanel {
  readonly #gateway = inject(GatewayClient);
  readonly #log = this.#gateway.log;
  protected readonly wording = trust;
  protected readonly isOpen = signal(false);
  protected readonly isBusy = signal(false);

  readonly #session = computed(() => {
    this.#log.entries();
    this.#gateway.time();
    return this.#log.client?.session ?? null;
  });
  readonly #connection = computed(() => {
    const connection = this.#session()?.connection;
    return connection?.kind === 'open' ? connection : null;
  });
  protected readonly gateway = computed(() => this.#connection()?.gateway ?? null);
  /** A demo stays a demo while its connection is lost. */
  protected readonly isDemo = signal(false);
  protected readonly delay = computed(() => {
    const delays = this.#log.delays();
    const [p50, p95] = [percentile(delays, 50), percentile(delays, 95)];
    return p50 === null || p95 === null ? null : { p50, p95, count: delays.length, clocksDiffer: p50 < 0 };
  });
  protected readonly position = computed(() => {
    const channels = [...(this.#session()?.channels.values() ?? [])];
    const [first] = channels;
    if (channels.length > 1) return trust.positions(channels.length);
    return first?.position?.revision.toString() ?? wording.account.nothing;
  });
  protected readonly counters = computed(() => {
    this.#session();
    return this.#log.client?.counters ?? NO_COUNTERS;
  });
  protected readonly snapshots = computed(() =>
    (['subscribed', 'too_far', 'ahead', 'epoch'] as const)
      .map((reason) => ({ reason, count: this.counters().snapshots[reason] }))
      .filter(({ count }) => count > 0),
  );
  protected readonly sentences = computed(() =>
    timeline(this.#log.entries())
      .slice(-MAX_SENTENCES)
      .map((sentence) => ({ ...sentence, clock: time.format(sentence.time) })),
  );

  constructor() {
    const auditor = new Auditor(this.#log);
    inject(DestroyRef).onDestroy(() => {
      auditor.stop();
    });
    effect(() => {
      if (this.#connection()?.features.includes('demo') === true) this.isDemo.set(true);
    });
    effect(() => {
      if (this.isDemo()) auditor.start();
    });
  }

  protected async send(count: number): Promise<void> {
    const [account = 'acc-0001'] = this.#session()?.channels.keys() ?? [];
    await this.#act(async () => {
      await act('transfers', { account, count });
      return trust.sent(count, account);
    });
  }

  protected cut(): void {
    if (this.gateway() === null) return;
    this.#log.add({ kind: 'action', text: trust.cut });
    this.#log.client?.dropConnection();
  }

  protected async kill(): Promise<void> {
    const gateway = this.gateway();
    if (gateway === null) return;
    await this.#act(async () => {
      const { pid } = (await act('kill-gateway', { gateway })) as { pid: number };
      return trust.killed(gateway, pid);
    });
  }

  async #act(action: () => Promise<string>): Promise<void> {
    if (this.isBusy()) return;
    this.isBusy.set(true);
    const began = performance.now();
    try {
      // The socket can be lost before the answer arrives. The timeline has the action at its beginning.
      this.#log.add({ kind: 'action', text: await action() }, began);
    } catch (error) {
      const reason = error instanceof Error ? error.message : trust.unreachable;
      this.#log.add({ kind: 'action', text: trust.actionFailed(reason) });
    } finally {
      this.isBusy.set(false);
    }
  }
}
