export const metadata = { title: "Next.js with next-auth 4" };

export default function RootLayout({ children }) {
  return <html lang="en"><body>{children}</body></html>;
}
