export const metadata = { title: "Next.js with Auth.js 5" };

export default function RootLayout({ children }) {
  return <html lang="en"><body>{children}</body></html>;
}
