/** Formats amounts in the user's language. `Intl` receives decimal strings, so amounts are never rounded. */

import { parts, sign, type Currency, type Money } from '@livebalance/client';

/** When a sign is shown: before debits only, or also a plus before credits. */
export type SignDisplay = 'negative' | 'always';

export class AmountFormat {
  readonly #formats = new Map<string, Intl.NumberFormat>();

  constructor(readonly locale?: string) {}

  format(amount: Money, currency: Currency, signDisplay: SignDisplay = 'negative'): string {
    const format = this.#formatFor(currency, parts(amount).scale, signDisplay);
    return format.format(amount as unknown as Intl.StringNumericLiteral);
  }

  #formatFor(currency: Currency, scale: number, signDisplay: SignDisplay): Intl.NumberFormat {
    const key = `${currency ?? ''} ${scale} ${signDisplay}`;
    const cached = this.#formats.get(key);
    if (cached !== undefined) return cached;
    const created = createFormat(this.locale, currency, scale, signDisplay);
    this.#formats.set(key, created);
    return created;
  }
}

function createFormat(
  locale: string | undefined,
  currency: Currency,
  scale: number,
  signDisplay: SignDisplay,
): Intl.NumberFormat {
  const options: Intl.NumberFormatOptions = {
    minimumFractionDigits: scale,
    maximumFractionDigits: scale,
    signDisplay: signDisplay === 'always' ? 'exceptZero' : 'negative',
  };
  // Intl accepts only codes of three letters. An amount with another code is shown without currency.
  const supported = currency !== null && /^[A-Za-z]{3}$/.test(currency);
  return new Intl.NumberFormat(locale, supported ? { ...options, style: 'currency', currency } : options);
}

export function direction(amount: Money): 'credit' | 'debit' | 'none' {
  const amountSign = sign(amount);
  return amountSign > 0 ? 'credit' : amountSign < 0 ? 'debit' : 'none';
}
