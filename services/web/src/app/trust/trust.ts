import {
  ChangeDetectionStrategy,
  Component,
  ViewContainerRef,
  afterNextRender,
  viewChild,
} from '@angular/core';

/** The place of the trust panel, which is loaded after the first paint. */
@Component({
  selector: 'lb-trust',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: '<ng-container #place />',
})
export class Trust {
  protected readonly place = viewChild.required('place', { read: ViewContainerRef });

  constructor() {
    afterNextRender(() => {
      void import('./trust-panel').then(({ TrustPanel }) => this.place().createComponent(TrustPanel));
    });
  }
}
