// What a dashboard of this program may look like, from Grafana's own types. dashboard.schema.json is made from it:
//   npm install @grafana/schema@12.4.4 ts-json-schema-generator
//   npx ts-json-schema-generator --path dashboard.ts --type '*' --no-type-check --jsDoc none --minify -o dashboard.schema.json
// Both follow @grafana/schema, which is Grafana Labs' under the Apache License 2.0.
// The panels of a dashboard are looked at one by one, each as what its type says, so that a problem names the panel.
import type * as dashboard from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as common from '@grafana/schema/dist/types/common/common.gen';
import type * as timeseries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as gauge from '@grafana/schema/dist/types/raw/composable/gauge/panelcfg/x/types.gen';
import type * as bargauge from '@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as heatmap from '@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen';
import type * as text from '@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';

interface Query {
  refId: string;
  expr: string;
  datasource?: dashboard.DataSourceRef;
  editorMode?: 'code' | 'builder';
  exemplar?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  hide?: boolean;
  instant?: boolean;
  interval?: string;
  intervalFactor?: number;
  legendFormat?: string;
  queryType?: string;
  range?: boolean;
}
type PanelOf<T extends string, O, C> = Omit<dashboard.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: T;
  options?: Partial<O>;
  fieldConfig?: {
    defaults: Omit<dashboard.FieldConfig, 'custom'> & { custom?: Partial<C> };
    overrides: dashboard.FieldConfigSource['overrides'];
  };
  targets?: Query[];
};
export type TimeSeriesPanel = PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>;
export type StatPanel = PanelOf<'stat', stat.Options, {}>;
export type GaugePanel = PanelOf<'gauge', gauge.Options, {}>;
export type BarGaugePanel = PanelOf<'bargauge', bargauge.Options, {}>;
export type TablePanel = PanelOf<'table', table.Options, table.FieldConfig>;
export type HeatmapPanel = PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>;
export type TextPanel = PanelOf<'text', text.Options, {}>;
export type Row = Omit<dashboard.RowPanel, 'panels'> & { panels: unknown[] };
// Grafana 12 writes and reads these three; its types have them again from the next form of dashboards on.
type Variable = dashboard.VariableModel & { auto?: boolean; auto_count?: number; auto_min?: string };
export type Dashboard = Omit<dashboard.Dashboard, 'panels' | 'templating'> & {
  panels?: unknown[];
  templating?: { list?: Variable[] };
};
