import eslint from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
  { ignores: ['dist/', 'examples/'] },
  {
    files: ['src/**/*.ts'],
    extends: [
      eslint.configs.recommended,
      tseslint.configs.strictTypeChecked,
      tseslint.configs.stylisticTypeChecked,
    ],
    languageOptions: {
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // Numbers in template literals need no String().
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Frames and states are unions, which only `type` can declare.
      '@typescript-eslint/consistent-type-definitions': 'off',
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '^[^.]', message: 'The package has no dependencies.' }] },
      ],
    },
  },
  {
    // Pure files use no clock, randomness or network.
    files: ['src/wire/*.ts', 'src/connection/*.ts', 'src/account/*.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        'window',
        'document',
        'indexedDB',
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
    },
  },
  { files: ['src/**/*.{spec,fake}.ts'], rules: { 'no-restricted-imports': 'off' } },
);
