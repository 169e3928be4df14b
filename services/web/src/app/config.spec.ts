import { TestBed } from '@angular/core/testing';
import { Router } from '@angular/router';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { config } from './config';

const assign = vi.fn();

describe('a page that cannot be loaded', () => {
  beforeEach(() => {
    vi.stubGlobal('location', { assign });
    TestBed.configureTestingModule({ providers: config.providers });
    const loadComponent = () => Promise.reject(new TypeError('Failed to fetch dynamically imported module'));
    TestBed.inject(Router).resetConfig([
      { path: '', pathMatch: 'full', children: [] },
      { path: 'accounts/:id', loadComponent },
    ]);
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    assign.mockClear();
  });

  it('is loaded anew with its address', async () => {
    const router = TestBed.inject(Router);
    await router.navigateByUrl('/');
    await expect(router.navigateByUrl('/accounts/a?range=1d')).rejects.toThrow('Failed to fetch');
    expect(assign).toHaveBeenCalledExactlyOnceWith('/accounts/a?range=1d');
  });

  it('is not loaded anew without a network, which would end the page', async () => {
    vi.stubGlobal('navigator', { onLine: false });
    const router = TestBed.inject(Router);
    await router.navigateByUrl('/');
    await expect(router.navigateByUrl('/accounts/a')).rejects.toThrow('Failed to fetch');
    expect(assign).not.toHaveBeenCalled();
  });

  it('is not loaded again and again', async () => {
    await expect(TestBed.inject(Router).navigateByUrl('/accounts/a')).rejects.toThrow('Failed to fetch');
    expect(assign).not.toHaveBeenCalled();
  });
});
