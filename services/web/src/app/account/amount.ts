/** Amounts in words of the reader's language. Decimal strings go to `Intl` as they are, so nothing is rounded. */

import { parts, sign, type Currency, type Money } from '../wire/money';

export type Signs = 'negative' | 'always';

export class AmountFormat {
  readonly #formats = new Map<string, Intl.NumberFormat>();

  constructor(readonly locale?: string) {}

  /** `signs` "always" writes a plus before a credit. */
  write(amount: Money, currency: Currency, signs: Signs = 'negative'): string {
    const format = this.#of(currency, parts(amount).scale, signs);
    return format.format(amount as unknown as Intl.StringNumericLiteral);
  }

  #of(currency: Currency, scale: number, signs: Signs): Intl.NumberFormat {
    const key = `${currency ?? ''} ${scale} ${signs}`;
    const known = this.#formats.get(key);
    if (known !== undefined) return known;
    const made = make(this.locale, currency, scale, signs);
    this.#formats.set(key, made);
    return made;
  }
}

function make(
  locale: string | undefined,
  currency: Currency,
  scale: number,
  signs: Signs,
): Intl.NumberFormat {
  const options: Intl.NumberFormatOptions = {
    minimumFractionDigits: scale,
    maximumFractionDigits: scale,
    signDisplay: signs === 'always' ? 'exceptZero' : 'negative',
  };
  // Only three letters are a currency to Intl; any other code of a deployment is left out.
  const known = currency !== null && /^[A-Za-z]{3}$/.test(currency);
  return new Intl.NumberFormat(locale, known ? { ...options, style: 'currency', currency } : options);
}

export function direction(amount: Money): 'credit' | 'debit' | 'none' {
  const s = sign(amount);
  return s > 0 ? 'credit' : s < 0 ? 'debit' : 'none';
}
