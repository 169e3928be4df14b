import { ChangeDetectionStrategy, Component, effect, inject, input } from '@angular/core';

import { Announcer } from '../frame/announcer';
import type { ConnectionText } from './connection-text';

/** A state in a word, coloured by its kind, and announced to screen readers when it changes. */
@Component({
  selector: 'lb-status-pill',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <p class="state" [attr.data-state]="status().state" [attr.title]="status().detail">
      <span class="dot" aria-hidden="true"></span>{{ status().text }}
    </p>
  `,
})
export class StatusPill {
  readonly status = input.required<ConnectionText>();
  /** Text before the announcement. */
  readonly label = input('');

  constructor() {
    const announcer = inject(Announcer);
    effect(() => {
      // Without numbers that change every second: a screen reader would announce each change.
      const { announcement, text } = this.status();
      announcer.say('status', `${this.label()}${announcement ?? text}.`);
    });
  }
}
