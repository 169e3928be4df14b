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
      // Component classes have no suffix: the folder names the feature.
      '@angular-eslint/component-class-suffix': 'off',
      // Numbers in template literals need no String().
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Frames and states are unions, which only `type` can declare.
      '@typescript-eslint/consistent-type-definitions': 'off',
    },
  },
  {
    // Pure files use no clock, randomness, network or framework.
    files: [
      'src/app/wording.ts',
      'src/app/account/{connection-text,dates,sparkline,address,chart/course,transfers/grouping,transfers/filter,drawer/record}.ts',
      'src/app/overview/{live-row,totals,watchlist-address}.ts',
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
