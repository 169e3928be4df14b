import eslint from '@eslint/js';
import angular from 'angular-eslint';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
  { ignores: ['dist/', '.angular/'] },
  {
    files: ['src/**/*.ts'],
    extends: [
      eslint.configs.recommended,
      tseslint.configs.strictTypeChecked,
      tseslint.configs.stylisticTypeChecked,
      angular.configs.tsRecommended,
    ],
    languageOptions: {
      parserOptions: { project: './tsconfig.spec.json', tsconfigRootDir: import.meta.dirname },
    },
    processor: angular.processInlineTemplates,
    rules: {
      '@angular-eslint/component-selector': [
        'error',
        { type: ['element', 'attribute'], prefix: 'lb', style: 'kebab-case' },
      ],
      // A name in a template says what it is; folders say which feature it belongs to.
      '@angular-eslint/component-class-suffix': 'off',
      // Numbers in messages need no String().
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `type` joins into unions, which is what frames and states are.
      '@typescript-eslint/consistent-type-definitions': 'off',
    },
  },
  {
    // Pure files decide: no clock, no chance, no network, no framework.
    files: [
      'src/app/wire/*.ts',
      'src/app/connection/{machine,state,channel,backoff,clock,moment}.ts',
      'src/app/account/{ledger,groups,words,sparkline}.ts',
    ],
    rules: {
      'no-restricted-globals': [
        'error',
        'window',
        'document',
        'WebSocket',
        'fetch',
        'setTimeout',
        'setInterval',
        'performance',
        'navigator',
        'location',
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random' },
        { object: 'Date', property: 'now' },
      ],
      'no-restricted-imports': ['error', { patterns: ['@angular/*', 'rxjs', 'rxjs/*'] }],
    },
  },
  {
    files: ['src/**/*.html'],
    extends: [angular.configs.templateRecommended, angular.configs.templateAccessibility],
  },
);
