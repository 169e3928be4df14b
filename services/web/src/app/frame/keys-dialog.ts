import {
  ChangeDetectionStrategy,
  Component,
  ElementRef,
  afterNextRender,
  output,
  viewChild,
} from '@angular/core';

import { wording } from '../wording';
import { areShortcutsOn, setShortcuts } from './shortcuts';

/** The list of keys. It is open as long as it exists. */
@Component({
  selector: 'lb-keys-dialog',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <dialog #dialog class="card keys" (close)="closed.emit()" aria-labelledby="keys-title">
      <h2 id="keys-title">{{ wording.title }}</h2>
      <dl>
        @for (key of wording.list; track key.key) {
          <div>
            <dt>
              <kbd>{{ key.key }}</kbd>
            </dt>
            <dd>{{ key.does }}</dd>
          </div>
        }
      </dl>
      <form method="dialog">
        <label>
          <input type="checkbox" #on [checked]="areOn" (change)="set(on.checked)" />
          {{ wording.singleKeys }}
        </label>
        <button>{{ wording.close }}</button>
      </form>
    </dialog>
  `,
})
export class KeysDialog {
  readonly closed = output();
  protected readonly wording = wording.keys;
  protected readonly areOn = areShortcutsOn();
  protected readonly set = setShortcuts;
  protected readonly dialog = viewChild.required<ElementRef<HTMLDialogElement>>('dialog');

  constructor() {
    afterNextRender(() => {
      this.dialog().nativeElement.showModal();
    });
  }
}
