import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';

import { GatewayClient } from '../connection/gateway-client';
import { wording } from '../wording';
import { connectionText } from './connection-text';
import { StatusPill } from './status-pill';

/** The state of the connection, and a button to reconnect now. */
@Component({
  selector: 'lb-connection-status',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [StatusPill],
  template: `
    <lb-status-pill
      [status]="text()"
      [label]="wording.label"
      data-testid="connection"
      [attr.data-state]="text().state"
    />
    @if (text().state === 'ended' || text().state === 'reconnecting') {
      <button type="button" class="plain" (click)="client.retry()">{{ wording.reconnectNow }}</button>
    }
  `,
})
export class ConnectionStatus {
  protected readonly wording = wording.connection;
  protected readonly client = inject(GatewayClient);
  protected readonly text = computed(() => connectionText(this.client.session(), this.client.time()), {
    equal: (a, b) => a.state === b.state && a.text === b.text && a.detail === b.detail,
  });
}
